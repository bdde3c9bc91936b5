"""A generator that takes more CPU than it needs, by a known share: to prove that a verdict sees such a limit.

Every loop reads a reply with one os.read, which it looks up when its job begins. In its place comes one that spins for
a share of what the process has used since the last time; so no loop has to know of it.
"""

import os
import time


def slow_down(percent: float) -> None:
    """Make this process take ``percent`` more CPU time for what it does from now on, less the clock's own cost."""
    read, cpu_ns = os.read, time.thread_time_ns
    rested_ns = cpu_ns()

    def slowed_read(fd: int, size: int, /) -> bytes:
        nonlocal rested_ns
        used_ns = cpu_ns()
        until_ns = used_ns + (used_ns - rested_ns) * percent / 100
        while (rested_ns := cpu_ns()) < until_ns:
            pass
        return read(fd, size)

    os.read = slowed_read
