"""The harness's end of a generator process: start it, give it jobs, take what came of them, stop it."""

import fcntl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.loadgen.client import Client
from harness.loadgen.messages import READY, Job, Measured, Outcome, Proceed, Times
from harness.loadgen.piped import PipedProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.testbed.host import Host

PIPE_BYTES = 1_048_576
"""Room for the times that are handed on at once, so that the generator need not wait for the harness in a job; what
everybody may ask for (pipe(7))."""

_PER_CENT = 99
_ANSWER: "msgspec.msgpack.Decoder[Times | Measured]" = msgspec.msgpack.Decoder(Times | Measured)


class Generator(Client):
    """A generator process, which runs job after job."""

    program = "the load generator"

    def __init__(self, cpu: int | None, host: "Host | None" = None, *, slowed_by: float = 0.0) -> None:
        """``slowed_by`` is a share of its CPU time that it is to take more, for the self test."""
        super().__init__(cpu, host)
        arguments = [] if cpu is None else [str(cpu)]
        arguments += ["--slow-down", f"{slowed_by * 100:g}"] if slowed_by else []
        self._process = PipedProcess(self._name, "harness.loadgen.generator", arguments, host)
        self._times: list[Times] = []

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it takes jobs. Raises GeneratorFailed when it cannot run on its CPU."""
        self._process.start()
        # Without the right to so large a pipe it has 64 KiB, and handing on times takes the generator longer.
        with suppress(PermissionError):
            fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def stop(self) -> None:
        """End the process, in the middle of a job too."""
        self._process.stop()

    def prepare(self, job: Job) -> None:
        """Let it open the connections that are open before the job's time begins."""
        self._times = []
        self._process.send(job)

    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is prepared."""
        self._process.receive(timeout_s, READY)

    def begin(self) -> None:
        """Let it send requests; now the job's time begins."""
        self._process.send(Proceed())

    def fileno(self) -> int:
        """Return the descriptor of the pipe that it answers in."""
        return self._process.fileno()

    def take(self, timeout_s: float) -> Outcome | None:
        """Take times, or what is told after the last of them."""
        message = self._process.receive(timeout_s, _ANSWER)
        if isinstance(message, Times):
            self._times.append(message)
            return None
        times, self._times = self._times, []
        try:
            return _outcome(message, times)
        except ValueError as error:  # of bytes that are no whole numbers
            raise self.failed(f"said something that makes no sense: {error}") from error

    def finish(self) -> None:
        """Let it close what is still open."""
        self._process.send(Proceed())


def _outcome(measured: Measured, times: Sequence[Times]) -> Outcome:
    import numpy as np  # noqa: PLC0415  the generator process imports this package too, and does without it

    def joined(parts: Iterable[bytes]) -> "NDArray[np.uint64]":
        return np.frombuffer(b"".join(parts), np.uint64)

    if any(len(part.completed_ns) != len(part.latency_ns) for part in times):
        raise ValueError("a reply without a latency")
    return Outcome(
        started_ns=measured.started_ns,
        ended_ns=measured.ended_ns,
        cpu_ns=measured.cpu_ns,
        completed_ns=joined(part.completed_ns for part in times),
        latency_ns=joined(part.latency_ns for part in times),
        errors=measured.errors,
        connect_ns=joined(part.connect_ns for part in times),
        first_byte_ns=joined(part.first_byte_ns for part in times),
        lateness_ns=_percentile(sorted(joined(part.late_ns for part in times).tolist())),
    )


def _percentile(in_order: Sequence[int]) -> int:
    """Return the 99th percentile, by nearest rank; 0 of none."""
    return in_order[(len(in_order) * _PER_CENT - 1) // 100] if in_order else 0
