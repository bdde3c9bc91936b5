"""What else runs on the machine, as seen for a moment, and what it takes."""

from typing import Final

from harness.analysis.environment import STEAL_SHARE
from harness.analysis.series import MOST_OTHERS_SHARE
from harness.analysis.verdicts import MOST_STEAL_SHARE
from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.system import System
from harness.report.figures import listing

MOST_BUSY_SHARE: Final = 0.25
"""Beyond it a side has no CPU of its own any more; from ``MOST_OTHERS_SHARE`` on a comparison calls itself noisy."""
_MOST_NAMED: Final = 3
_LEAST_NAMED: Final = 0.02
LITTLE_MEMORY_BYTES: Final = 2**30
"""All implementations in a few variants take about 50 MB a worker; what is over is the page cache's."""
TOO_LITTLE_MEMORY_BYTES: Final = 2**28
WORKER_BYTES: Final = 50 * 2**20
"""See above."""
CONNECTION_BYTES: Final = 2**15
"""Taken generously: four sockets of a proxy's connection (a tcp_sock has 2.5 KB), and what both sides note of it."""
_KIB: Final = 1024


def _steal(system: System) -> Finding:
    shares = [system.watched.steal[cpu] for cpu in system.roles.all if cpu in system.watched.steal]
    if not shares:
        return unknown("the kernel does not say (/proc/stat)")
    worst = max(shares)
    if worst > MOST_STEAL_SHARE:
        return problem(f"the host gave {worst:.0%} of a CPU's time to others".replace("%", " %"))
    if worst > STEAL_SHARE:
        return warning(f"the host gave {worst:.0%} of a CPU's time to others".replace("%", " %"))
    is_guest = any("hypervisor" in line.split() for line in system.files.lines("/proc/cpuinfo"))
    if is_guest and not system.watched.knows_steal:
        return unknown("none since the machine's start, so its host may not tell of any")
    return ok(f"{worst:.1%} at most".replace("%", " %"))


def _busy(system: System) -> Finding:
    shares = {cpu: system.watched.busy[cpu] for cpu in system.roles.all if cpu in system.watched.busy}
    if not shares:
        return unknown("the kernel does not say (/proc/stat)")
    cpu = max(shares, key=lambda cpu: shares[cpu])
    greedy = [who for who in system.watched.programs if who[1] >= _LEAST_NAMED][:_MOST_NAMED]
    by = f", most by {listing([f'{name} ({share:.0%})' for name, share in greedy])}" if greedy else ""
    average = (system.files.read("/proc/loadavg") or "").split()[:1]
    load = f"; load average {average[0]}" if average else ""
    said = f"CPU {cpu} was {shares[cpu]:.0%} busy{by}{load}".replace("%", " %")
    if shares[cpu] > MOST_BUSY_SHARE:
        return problem(said)
    return warning(said) if shares[cpu] > MOST_OTHERS_SHARE else ok(said)


def _memory(system: System) -> Finding:
    row = next((line for line in system.files.lines("/proc/meminfo") if line.startswith("MemAvailable:")), None)
    if row is None:
        return unknown("the kernel does not say (/proc/meminfo)")
    free_bytes = int(row.split()[1]) * _KIB
    needed_bytes = system.load.workers * WORKER_BYTES + system.connections * CONNECTION_BYTES
    said = f"{free_bytes / 2**20:,.0f} MiB free; the load takes about {needed_bytes / 2**20:,.0f}"
    if free_bytes < TOO_LITTLE_MEMORY_BYTES + needed_bytes:
        return problem(said)
    return warning(said) if free_bytes < LITTLE_MEMORY_BYTES + needed_bytes else ok(said)


def _swap(system: System) -> Finding:
    in_use = system.files.lines("/proc/swaps")[1:]
    if system.watched.swapped_pages:
        return problem(f"{system.watched.swapped_pages:,} pages went to or came from it", "swapoff -a")
    if not in_use:
        return ok("none")
    used_kib = sum(int(line.split()[3]) for line in in_use)
    return ok(f"nothing moved; {used_kib / _KIB:,.0f} MiB are in it")


AREA: Final = Area(
    "What else runs",
    (
        Check(
            "load.busy", "other programs",
            f"each CPU of a side at most {MOST_OTHERS_SHARE:.0%} busy".replace("%", " %"),
            "what others take of a CPU is taken for the server's, or makes it wait; end them", _busy,
        ),
        Check(
            "load.steal", "steal", f"at most {STEAL_SHARE:.0%} of a CPU's time".replace("%", " %"),
            "a server stands still while the host runs others; take a machine with CPUs of its own", _steal,
        ),
        Check(
            "memory.free", "free memory", f"{LITTLE_MEMORY_BYTES / 2**20:,.0f} MiB more than the load takes",
            "without it the kernel looks for pages beside the load, or ends a server; end other programs", _memory,
        ),
        Check(
            "memory.swap", "swap", "nothing moves",
            "a page that must come from the disk holds its server up for milliseconds", _swap,
        ),
    ),
)  # fmt: skip
