"""The generator process: ``python -m harness.loadgen.generator [CPU]``.

It reads jobs from standard input, runs one at a time, and writes what it measured to standard output. It ends when
its standard input does, in the middle of a job too: so it cannot outlive the harness, however that ends.
"""

import gc
import os
import resource
import select
import sys

import msgspec

from harness.loadgen import keepalive, short
from harness.loadgen.connections import HarnessGone
from harness.loadgen.messages import Job, Measured, Ready, frame, read_payload


def main(cpu: str | None = None) -> None:
    """Run jobs until standard input ends."""
    if cpu is not None:
        os.sched_setaffinity(0, {int(cpu)})
    _allow_many_descriptors()
    # Nothing here makes reference cycles but exceptions on their way: the collector would only interrupt.
    gc.disable()
    gc.freeze()
    try:
        _write(frame(Ready()))
        while (payload := read_payload(lambda size: os.read(sys.stdin.fileno(), size))) is not None:
            _write(frame(_run(msgspec.msgpack.decode(payload, type=Job))))
            gc.collect()
    except (HarnessGone, BrokenPipeError):
        return  # nobody is left to tell


def _run(job: Job) -> Measured:
    with select.epoll() as epoll:
        return keepalive.run(job, epoll) if job.workload == "keepalive" else short.run(job, epoll)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def _allow_many_descriptors() -> None:
    """Raise the soft limit, often 1024, to the hard one: each connection takes a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
