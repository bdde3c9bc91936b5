"""What the kernel counted for processes, CPUs and hosts, to be read before and after a slice."""

import errno
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.schema import ClientPorts, ContextSwitches, CpuUse, TcpCounts

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""The unit of times in /proc/PID/stat and /proc/stat (proc_pid_stat(5), proc_stat(5))."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NS_PER_US = 1000


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


def context_switches(pids: Iterable[int]) -> ContextSwitches:
    """Add up the context switches of some processes so far. Raises ProcessLookupError when one has ended."""
    voluntary = involuntary = 0
    for pid in pids:
        # Of the first thread alone; servers that have more do their work in it.
        counts = dict(line.split(b":\t", 1) for line in _read_of(pid, "status").splitlines() if b"_ctxt_" in line)
        voluntary += int(counts[b"voluntary_ctxt_switches"])
        involuntary += int(counts[b"nonvoluntary_ctxt_switches"])
    return ContextSwitches(voluntary, involuntary)


def resident_bytes(pids: Iterable[int]) -> int:
    """Add up the resident memory of some processes, shared pages in each. Raises ProcessLookupError."""
    return sum(int(_read_of(pid, "statm").split()[1]) * _PAGE for pid in pids)


def _read_of(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error


def tcp_counts(proc_net: Path) -> TcpCounts:
    """Read the TCP counters of the network namespace whose ``/proc/PID/net`` this is."""
    tcp = _table(proc_net / "snmp", "Tcp:")
    extended = _table(proc_net / "netstat", "TcpExt:")
    return TcpCounts(
        segments_in=tcp["InSegs"],
        segments_out=tcp["OutSegs"],
        retransmitted=tcp["RetransSegs"],
        listen_overflows=extended["ListenOverflows"],
        # The overflows are among them (tcp_v4_syn_recv_sock), and the SYNs that find the queue of half-open
        # connections full, which TCPReqQFullDrop counts by themselves (tcp_conn_request).
        listen_drops=extended["ListenDrops"],
    )


def delayed_acks(proc_net: Path) -> int:
    """Count the acknowledgements that a network namespace has sent because their time had come, with no data to go."""
    return _table(proc_net / "netstat", "TcpExt:")["DelayedACKs"]


def _table(path: Path, prefix: str) -> dict[str, int]:
    """Read the two lines, of names and of numbers, that begin with ``prefix`` (proc_pid_net(5))."""
    names, numbers = (line.split()[1:] for line in _lines(path) if line.startswith(prefix))
    return dict(zip(names, map(int, numbers), strict=True))


def _lines(path: Path) -> list[str]:
    """Read a table of a host's. Raises BrokenPipeError when the process that holds the host's namespace has ended."""
    try:
        return path.read_text().splitlines()
    except OSError:
        raise BrokenPipeError(errno.EPIPE, f"the process that holds the namespace has ended: no {path}") from None


def client_ports(proc_net: Path, available: int) -> ClientPorts:
    """Tell how many of the ``available`` ephemeral ports of a namespace no socket holds, counted as if each held one.

    A port can serve several destinations at a time, and those that listen hold none of these: so what is left is
    at least this.
    """
    [counts] = [line.split() for line in _lines(proc_net / "sockstat") if line.startswith("TCP:")]
    numbers = dict(zip(counts[1::2], map(int, counts[2::2]), strict=True))
    return ClientPorts(time_wait=numbers["tw"], left=max(0, available - numbers["inuse"] - numbers["tw"]))


@dataclass(frozen=True, slots=True)
class CpuClock:
    """The clocks of one CPU at one moment."""

    at_ns: int
    idle_us: int | None
    """The time spent in idle states, to the microsecond; None where the kernel does not say."""
    ticks: tuple[int, ...]
    """The line of /proc/stat."""


def cpu_clocks(cpus: Sequence[int]) -> dict[int, CpuClock]:
    """Read the clocks of some CPUs; the calling thread visits each for it, and stays on the last that it may use.

    The idle states' times (Documentation/admin-guide/pm/cpuidle.rst) grow only when an idle state is left. A thread
    that runs on the CPU has made it leave: so they are exact, where the ticks of /proc/stat are 10 ms.
    """
    allowed = os.sched_getaffinity(0)
    found: dict[int, CpuClock] = {}
    ticks = _ticks()
    try:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            found[cpu] = CpuClock(time.monotonic_ns(), _idle_us(cpu), ticks[cpu])
    finally:
        os.sched_setaffinity(0, allowed)
    return found


def cpu_use(before: CpuClock, after: CpuClock, cpu: int) -> CpuUse:
    """Tell what a CPU did between two moments."""
    user, nice, system, idle, io_wait, irq, softirq, steal = (
        (later - earlier) * TICK_NS for earlier, later in zip(before.ticks[:8], after.ticks[:8], strict=True)
    )
    span_ns = after.at_ns - before.at_ns
    idle_ns, exact = max(0, idle + io_wait), False
    if before.idle_us is not None and after.idle_us is not None:
        idle_ns, exact = (after.idle_us - before.idle_us) * _NS_PER_US, True
    return CpuUse(
        cpu=cpu,
        span_ns=span_ns,
        busy_ns=max(0, span_ns - idle_ns),
        exact=exact,
        user_ns=max(0, user + nice),
        system_ns=max(0, system),
        softirq_ns=max(0, irq + softirq),
        idle_ns=max(0, idle + io_wait),
        steal_ns=max(0, steal),
    )


def _ticks() -> dict[int, tuple[int, ...]]:
    """Read user, nice, system, idle, iowait, irq, softirq and steal of every CPU, in ticks (proc_stat(5))."""
    found = {}
    with Path("/proc/stat").open() as lines:
        next(lines)
        for line in lines:
            if not line.startswith("cpu"):
                break  # what follows is long
            name, *numbers = line.split()
            found[int(name.removeprefix("cpu"))] = tuple(map(int, numbers[:8]))
    return found


def _idle_us(cpu: int) -> int | None:
    states = _idle_states(cpu)
    return sum(int(state.read_text()) for state in states) if states else None


@cache
def _idle_states(cpu: int) -> list[Path]:
    return list(Path(f"/sys/devices/system/cpu/cpu{cpu}/cpuidle").glob("state*/time"))
