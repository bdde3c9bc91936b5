"""What the harness and a generator process tell each other, and its framing on their pipes.

A frame is the length of its payload in eight bytes and the payload, a message in MessagePack: it carries the
arrays of a slice as they lie in memory.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    # The generator process imports this file too and does without numpy, which would start threads in it.
    import numpy as np
    from numpy.typing import NDArray

_LENGTH = struct.Struct(">Q")
MOST_BYTES = 67_108_864
"""Of a message; the longest has the times of some ten thousand replies."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of load on one server."""

    workload: Literal["short", "keepalive", "proxy"]
    """``short`` and ``proxy`` make a connection for each request, ``keepalive`` keeps them."""
    targets: Annotated[list[tuple[str, int]], Meta(min_length=1)]
    """IP addresses and ports, used in turn."""
    concurrency: Annotated[int, Meta(ge=0)]
    """Connections at a time; each has one request under way, in an open loop at most one."""
    duration_s: Annotated[float, Meta(gt=0)]
    """For how long requests are begun; in an open loop, for how long they become due."""
    reply: Annotated[bytes, Meta(min_length=1)]
    """What every reply must be, byte for byte."""
    timeout_s: Annotated[float, Meta(ge=0)]
    """How long the replies still due at the end are waited for."""
    rate_rps: Annotated[float, Meta(gt=0)] | None = None
    """How many requests a second become due, in an open loop; None stands for a closed one."""
    seed: int = 0
    """Fixes when they become due: the same seed and rate, the same schedule. Generators that load one server together
    need different ones."""


class Ready(msgspec.Struct, frozen=True):
    """What a generator process says when it takes jobs, and when it is prepared for the one it got."""


READY = msgspec.msgpack.Decoder(Ready)


class Proceed(msgspec.Struct, frozen=True):
    """What the harness answers: to a prepared generator, that it may begin; to what it measured, that the job is over.

    So the harness can read the kernel's counters in between, with connections open that are not part of a slice.
    """


class Times(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Times that a generator process has taken since its last ones: as it keeps none, a job may be as long as it likes.

    They are unsigned 64-bit numbers in its own byte order; ``Outcome`` says what they are.
    """

    completed_ns: bytes
    latency_ns: bytes
    connect_ns: bytes = b""
    first_byte_ns: bytes = b""
    late_ns: bytes = b""
    """How late each request was begun for which a connection was free when it was due."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a generator process answers to a job, after all of its times."""

    started_ns: int
    ended_ns: int
    cpu_ns: int
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a program that tells no time for each reply has counted, by its own clock."""

    requests: int
    """Correct replies."""
    duration_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job. Clocks are CLOCK_MONOTONIC, which all processes of a machine share."""

    started_ns: int
    """Before the first request; with ``keepalive`` the connections are open by then."""
    ended_ns: int
    """After the last reply, or after the wait for it."""
    cpu_ns: int
    """CPU time of the generator process between the two."""
    completed_ns: "NDArray[np.uint64]"
    """When each correct reply was complete; in no order, as the end of its stream may come later."""
    latency_ns: "NDArray[np.uint64]"
    """How long each of them took: from before the connect, with ``keepalive`` from before the write, to its end.

    In an open loop from when the request was due; so are the next two, whose order is the same.
    """
    errors: dict[str, int]
    """What was not a correct reply, by kind; in an open loop, with all that were due and not answered in time."""
    connect_ns: "NDArray[np.uint64]"
    """To the end of each one's handshake; empty in a closed loop, and with ``keepalive``."""
    first_byte_ns: "NDArray[np.uint64]"
    """To the read that brought the first byte of each; empty in a closed loop."""
    lateness_ns: int
    """How late the generator itself was: the 99th percentile, over the requests of an open loop for which a connection
    was free when they were due, of the time from then to their begin. 0 in a closed loop.

    It is part of the latencies. Where it is not small against them, they are in part the generator's.
    """
    counted: Counted | None = None
    """Stands instead of ``completed_ns``, which is empty then; ``latency_ns`` holds quantiles, not every reply's."""


def frame(message: msgspec.Struct) -> bytes:
    """Encode a message as it goes through a pipe."""
    payload = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def read_payload(read: Callable[[int], bytes]) -> bytes | None:
    """Read one frame and return its payload; None when the other side ended its stream before it was whole.

    ``read`` returns up to as many bytes as asked, and none at the end of the stream. Raises ValueError for a length
    that no message has.
    """
    head = _read_exactly(read, _LENGTH.size)
    if head is None:
        return None
    [length] = _LENGTH.unpack(head)
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length:,} bytes is none")
    return _read_exactly(read, length)


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        data = read(size - len(received))
        if not data:
            return None
        received += data
    return bytes(received)
