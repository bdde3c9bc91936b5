"""Reads what a run is measured on. What this machine does not tell is None."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.environment_schema import Environment
from harness.registry import ROOT
from harness.schema import SCHEMA
from harness.testbed import cpus, sysctl

_CPU = Path("/sys/devices/system/cpu")
_SYSCTLS = (
    "kernel.numa_balancing",
    "kernel.randomize_va_space",
    "kernel.sched_autogroup_enabled",
    "net.core.busy_poll",
    "net.core.busy_read",
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.rps_sock_flow_entries",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "vm.swappiness",
)
_LIBRARIES = ("gevent", "greenlet", "hdrhistogram", "msgspec", "numpy", "scipy", "trio", "uvloop")
_KERNEL_OPTIONS = frozenset(
    {
        "idle", "intel_idle.max_cstate", "intel_pstate", "irqaffinity", "isolcpus", "mitigations", "nmi_watchdog",
        "nohz", "nohz_full", "nopti", "nosmt", "nospectre_v1", "nospectre_v2", "preempt", "processor.max_cstate",
        "rcu_nocbs", "skew_tick", "tsc",
    }
)  # fmt: skip
"""The rest of the command line may hold what is nobody's business."""
_NS_PER_S = 1_000_000_000
_TIME_FIELDS, _STEAL = 8, 7
"""Of the line ``cpu`` in /proc/stat (proc_stat(5)): user to steal; what follows them is counted in user already."""


def describe(read_sysctl: Callable[[str], str] | None = None) -> Environment:
    """Describe machine, kernel, settings and software.

    ``read_sysctl`` reads a setting of the host that the servers run on, which has its own where it is a network
    namespace; it raises OSError for one that is not there. Without it the machine's own settings are read.
    """
    cpuinfo = _lines("/proc/cpuinfo")
    revision, dirty = _revision()
    time_ns, steal_ns = _cpu_times_ns()
    return Environment(
        schema=SCHEMA,
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        kernel=platform.release(),
        kernel_options=kernel_options(_read("/proc/cmdline") or ""),
        vulnerabilities={path.name: _read(path) for path in sorted((_CPU / "vulnerabilities").glob("*"))},
        architecture=platform.machine(),
        cpu_model=_field(cpuinfo, "model name"),
        cpus_online=os.cpu_count(),
        cpus_allowed=tuple(sorted(os.sched_getaffinity(0))),
        governor=summarise(_governors()),
        turbo=_turbo(),
        smt_active=_flag(_CPU / "smt/active"),
        smt_control=_read(_CPU / "smt/control"),
        clocksource=_read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        transparent_hugepages=_chosen(_read("/sys/kernel/mm/transparent_hugepage/enabled")),
        virtual=_virtual(cpuinfo),
        product_name=_read("/sys/class/dmi/id/product_name"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        sysctls={name: _sysctl(name, read_sysctl) for name in _SYSCTLS},
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: _version(name) for name in _LIBRARIES},
        revision=revision,
        dirty=dirty,
        load_average=os.getloadavg(),
        cpu_time_ns=time_ns,
        cpu_steal_ns=steal_ns,
    )


def kernel_options(command_line: str) -> dict[str, str]:
    """Return the options of a kernel's command line that bear on speed; one without a value has an empty one."""
    pairs = (option.partition("=") for option in command_line.split())
    return {name: value for name, _, value in pairs if name in _KERNEL_OPTIONS}


def summarise(governors: Mapping[int, str]) -> str | None:
    """Return what the CPUs have in common, or who has what; None where there is nothing."""
    by_governor: dict[str, list[int]] = {}
    for cpu in sorted(governors):
        by_governor.setdefault(governors[cpu], []).append(cpu)
    if len(by_governor) <= 1:
        return next(iter(by_governor), None)
    return ", ".join(f"{governor} (CPU {cpus.write(numbers)})" for governor, numbers in by_governor.items())


def _governors() -> dict[int, str]:
    found = {}
    for path in _CPU.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        governor = _read(path)
        if governor is not None:
            found[int(path.parts[-3].removeprefix("cpu"))] = governor
    return found


def _turbo() -> bool | None:
    """Tell whether boost is allowed; Intel's driver has a switch of its own, which says the opposite."""
    disabled = _flag(_CPU / "intel_pstate/no_turbo")
    return _flag(_CPU / "cpufreq/boost") if disabled is None else not disabled


def _virtual(cpuinfo: list[str]) -> bool | None:
    """Tell whether the CPU says that it runs under a hypervisor; only x86 has such a flag."""
    flags = _field(cpuinfo, "flags")
    return None if flags is None else "hypervisor" in flags.split()


def _cpu_times_ns() -> tuple[int | None, int | None]:
    fields = next((line.split()[1:] for line in _lines("/proc/stat") if line.startswith("cpu ")), [])
    if len(fields) < _TIME_FIELDS:
        return None, None
    tick_ns = _NS_PER_S // os.sysconf("SC_CLK_TCK")
    ticks = [int(field) for field in fields[:_TIME_FIELDS]]
    return sum(ticks) * tick_ns, ticks[_STEAL] * tick_ns


def _chosen(text: str | None) -> str | None:
    """Return the word in brackets of ``always [madvise] never``."""
    return next((word.strip("[]") for word in (text or "").split() if word.startswith("[")), text)


def _flag(path: Path) -> bool | None:
    return {"0": False, "1": True}.get(_read(path) or "")


def _read(path: str | Path) -> str | None:
    try:
        return " ".join(Path(path).read_text().split())
    except (OSError, UnicodeDecodeError):
        return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _field(lines: list[str], name: str) -> str | None:
    """Return the value of the first line ``name : value``."""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sysctl(name: str, read: Callable[[str], str] | None) -> str | None:
    """Read a setting of a host; those that are the machine's alone are not to be seen in a namespace."""
    if read is not None:
        with suppress(OSError):
            return read(name)
    return _read(sysctl.path(name))


def _revision() -> tuple[str | None, bool | None]:
    """Return the commit that runs and whether files were changed since; nothing outside a git checkout."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607  git from the user's PATH
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    described = result.stdout.strip()
    return (described.removesuffix("+"), described.endswith("+")) if described else (None, None)
