"""The generator process: ``python -m harness.loadgen.generator [CPU]``.

It reads jobs from standard input, runs one at a time, and writes what it measured to standard output. It ends when
its standard input does, in the middle of a job too: so it cannot outlive the harness, however that ends.
"""

import gc
import os
import resource
import select
import sys
from typing import TypeVar

import msgspec

from harness.loadgen import keepalive, short
from harness.loadgen.connections import HarnessGone
from harness.loadgen.messages import Job, Proceed, Ready, frame, read_payload

_M = TypeVar("_M")


def main(cpu: str | None = None) -> None:
    """Run jobs until standard input ends."""
    if cpu is not None:
        os.sched_setaffinity(0, {int(cpu)})
    _allow_many_descriptors()
    # Nothing here makes reference cycles but exceptions on their way: the collector would only interrupt.
    gc.disable()
    gc.freeze()
    try:
        _write(Ready())
        while True:
            _run(_read(Job))
            gc.collect()
    except (HarnessGone, BrokenPipeError):
        return  # nobody is left to tell


def _run(job: Job) -> None:
    workload = keepalive if job.workload == "keepalive" else short
    with select.epoll() as epoll:
        connections = workload.prepare(job, epoll)
        _write(Ready())
        _read(Proceed)
        _write(workload.run(job, epoll, connections))
        _read(Proceed)
        connections.close()


def _read(kind: type[_M]) -> _M:
    """Wait for a message. Raises HarnessGone when none will come."""
    payload = read_payload(lambda size: os.read(sys.stdin.fileno(), size))
    if payload is None:
        raise HarnessGone
    return msgspec.msgpack.decode(payload, type=kind)


def _write(message: msgspec.Struct) -> None:
    rest = memoryview(frame(message))
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def _allow_many_descriptors() -> None:
    """Raise the soft limit, often 1024, to the hard one: each connection takes a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
