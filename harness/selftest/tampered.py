"""Runs a Python server with a planted fault: ``python tampered.py PLANT VALUE MODULE [FLAG...]``.

``slower PERCENT``: a request takes so much more of its CPU's time, packets that are handled in interrupts included. The
difference follows what the CPU has done, so it is as planted whatever the speed of the machine does; a twin that is
slower by 0 reads the clocks as often.
``backlog N``: whatever backlog the server asks for, its listening sockets get N.

The server's module is run as ``python -m MODULE`` would, with what it calls in ``os`` and ``socket`` replaced before.
"""

import os
import runpy
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_READS_PER_LOOK = 16
"""The clocks are read so seldom that it costs the twins next to nothing, and so often that a slice has many looks."""
_LONGEST_WORK_NS = 30_000_000
"""What lies further back may be the work of another server, which had its turn on this CPU meanwhile."""
_LONGEST_STEP_NS = 1000
"""A look at the clock that took longer was interrupted by other work."""


def main(plant: str, value: str, module: str, *flags: str) -> NoReturn:
    """Plant the fault and become the server."""
    _PLANTS[plant](float(value))
    sys.argv = [module, *flags]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as python -m does
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


def _slower(percent: float) -> None:
    real = os.read
    reads = 0
    busy_ns: Callable[[], int] | None = None
    paid_for_ns = looked_ns = 0

    def read(fd: int, length: int, /) -> bytes:
        nonlocal reads, busy_ns, paid_for_ns, looked_ns
        reads += 1
        if reads % _READS_PER_LOOK == 0:
            busy_ns = busy_ns or _clock_of_this_cpu()  # only now is this a worker on its CPU
            used_ns, now_ns = busy_ns(), time.monotonic_ns()
            recent = now_ns - looked_ns < _LONGEST_WORK_NS
            # Packets that are handled while it spins are work, and paid for the next time.
            paid_for_ns = used_ns + (_spin(round((used_ns - paid_for_ns) * percent / 100)) if recent else 0)
            looked_ns = now_ns
        return real(fd, length)

    os.read = read


def _spin(amount_ns: int) -> int:
    """Compute for so long, interruptions not counted; return how long it was."""
    now = time.perf_counter_ns
    spent_ns, last_ns = 0, now()
    while spent_ns < amount_ns:
        now_ns = now()
        spent_ns += min(now_ns - last_ns, _LONGEST_STEP_NS)
        last_ns = now_ns
    return spent_ns


def _clock_of_this_cpu() -> Callable[[], int]:
    """Return a clock that stands still while this process's CPU is idle; of the process where the kernel has none."""
    [cpu] = os.sched_getaffinity(0)
    states = [
        state.open("rb", buffering=0) for state in Path(f"/sys/devices/system/cpu/cpu{cpu}/cpuidle").glob("state*/time")
    ]
    if not states:
        return time.thread_time_ns

    def busy_ns() -> int:
        idle_us = sum(int(os.pread(state.fileno(), 32, 0)) for state in states)
        return time.monotonic_ns() - idle_us * 1000

    return busy_ns


def _backlog(length: float) -> None:
    class Listener(socket.socket):
        def listen(self, backlog: int = 0, /) -> None:
            del backlog
            super().listen(int(length))

    setattr(socket, "socket", Listener)  # noqa: B010  a type checker would not let a class be replaced


_PLANTS = {"slower": _slower, "backlog": _backlog}

if __name__ == "__main__":
    main(*sys.argv[1:])
