"""What the kernel counted for a set of processes."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""The unit of user and system time in /proc/PID/stat (proc_pid_stat(5))."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time that processes have used since they began, all threads together."""

    total_ns: int
    """Exact: the scheduler's own sum."""
    user_ns: int
    """In steps of TICK_NS for each process; ``system_ns`` likewise."""
    system_ns: int

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(
            self.total_ns - earlier.total_ns, self.user_ns - earlier.user_ns, self.system_ns - earlier.system_ns
        )


def cpu_time(pids: Iterable[int]) -> CpuTime:
    """Add up the CPU time of some processes. Raises ProcessLookupError when one has ended."""
    total_ns = user_ns = system_ns = 0
    for pid in pids:
        try:
            total_ns += time.clock_gettime_ns(_process_clock(pid))
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError as error:
            raise ProcessLookupError(f"process {pid} has ended") from error
        if fields[0] in b"ZX":  # it has ended, and nobody has asked for its status yet
            raise ProcessLookupError(f"process {pid} has ended")
        # Fields 14 and 15 of proc_pid_stat(5); the split begins with field 3.
        user_ns += int(fields[11]) * TICK_NS
        system_ns += int(fields[12]) * TICK_NS
    return CpuTime(total_ns, user_ns, system_ns)


def _process_clock(pid: int) -> int:
    """Make the id of a process's CPU clock, as clock_getcpuclockid(3) does.

    The kernel's encoding (include/linux/posix-timers_types.h): the inverted pid, shifted by three, and in the
    low bits the kind of clock: 2 is the scheduler's time, without the bit for a single thread.
    """
    scheduled = 2
    return (~pid << 3) | scheduled
