"""The generator process: ``python -m harness.loadgen.generator [CPU] [--slow-down PERCENT]``.

It reads jobs from standard input, runs one at a time, and writes what it measured to standard output. It ends when
its standard input does, in the middle of a job too: so it cannot outlive the harness, however that ends.
"""

import argparse
import gc
import os
import resource
import select
import sys
from typing import TypeVar

import msgspec

from harness.loadgen import keepalive, open_keepalive, open_short, short
from harness.loadgen.connections import HarnessGone
from harness.loadgen.messages import Job, Proceed, Ready, frame, read_payload
from harness.loadgen.slowed import slow_down

_M = TypeVar("_M")


def main() -> None:
    """Run jobs until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m harness.loadgen.generator", description=main.__doc__)
    parser.add_argument("cpu", type=int, nargs="?", help="where to run; without it the kernel decides")
    parser.add_argument(
        "--slow-down", type=float, default=0.0, metavar="PERCENT", help="take that much more CPU time for everything"
    )
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    if options.slow_down:
        slow_down(options.slow_down)
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
    if job.workload == "keepalive":
        loop = keepalive if job.rate_rps is None else open_keepalive
    else:
        loop = short if job.rate_rps is None else open_short
    with select.epoll() as epoll:
        connections = loop.prepare(job, epoll)
        _write(Ready())
        _read(Proceed)
        _write(loop.run(job, epoll, connections))
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
    main()
