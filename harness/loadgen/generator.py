"""The generator process: ``python -m harness.loadgen.generator [CPU] [--slow-down PERCENT]``.

It reads jobs from standard input, runs one at a time, and writes what it measured to standard output. It ends when
its standard input does, in the middle of a job too: so it cannot outlive the harness, however that ends.
"""

import argparse
import gc
import os
import resource
import select

from harness.loadgen import keepalive, open_keepalive, open_short, short, stdio
from harness.loadgen.messages import Job, Proceed, Ready
from harness.loadgen.slowed import slow_down
from harness.loadgen.stdio import HarnessGone


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
        stdio.write(Ready())
        while True:
            _run(stdio.read(Job))
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
        stdio.write(Ready())
        stdio.read(Proceed)
        stdio.write(loop.run(job, epoll, connections))
        stdio.read(Proceed)
        connections.close()


def _allow_many_descriptors() -> None:
    """Raise the soft limit, often 1024, to the hard one: each connection takes a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
