"""What the harness and a process of ours say to each other, seen from that process: its standard input and output."""

import os
import sys
from typing import TypeVar

import msgspec

from harness.loadgen.messages import frame, read_payload

_M = TypeVar("_M")


class HarnessGone(Exception):  # noqa: N818  as GeneratorExit: what happened
    """The harness closed its end of the pipe, or ended: nobody waits for an outcome any more."""


def read(kind: type[_M]) -> _M:
    """Wait for a message. Raises HarnessGone when none will come."""
    payload = read_payload(lambda size: os.read(sys.stdin.fileno(), size))
    if payload is None:
        raise HarnessGone
    return msgspec.msgpack.decode(payload, type=kind)


def write(message: msgspec.Struct) -> None:
    """Say something. Raises BrokenPipeError when nobody is left to be told."""
    rest = memoryview(frame(message))
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]
