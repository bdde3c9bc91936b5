"""Reads what a run is measured on. What this machine does not tell is None."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from harness.environment_schema import Environment
from harness.machine_files import MachineFiles
from harness.registry import ROOT
from harness.schema import SCHEMA
from harness.testbed import cpus

CPUS = "/sys/devices/system/cpu"
NO_TURBO, BOOST = f"{CPUS}/intel_pstate/no_turbo", f"{CPUS}/cpufreq/boost"
CLOCK = "/sys/devices/system/clocksource/clocksource0"
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
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
_LIBRARIES = frozenset({"hdrhistogram", "msgspec", "numpy", "scipy"})
"""The harness's own that a result could hang on; those of the implementations are in their requirements.txt."""
_KERNEL_OPTIONS = frozenset(
    {
        "idle", "intel_idle.max_cstate", "intel_pstate", "irqaffinity", "isolcpus", "mitigations", "nmi_watchdog",
        "nohz", "nohz_full", "nopti", "nosmt", "nospectre_v1", "nospectre_v2", "preempt", "processor.max_cstate",
        "rcu_nocbs", "skew_tick", "tsc",
    }
)  # fmt: skip
"""The rest of the command line may hold what is nobody's business."""
_NS_PER_S = 1_000_000_000
_TIME_FIELDS, STEAL = 8, 7
"""Of what ``cpu_ticks`` returns: how many there are, and which is what the host gave to others."""


def describe(read_sysctl: Callable[[str], str] | None = None) -> Environment:
    """Describe machine, kernel, settings and software.

    ``read_sysctl`` reads a setting of the host that the servers run on, which has its own where it is a network
    namespace; it raises OSError for one that is not there. Without it the machine's own settings are read.
    """
    machine = MachineFiles()
    revision, dirty = _revision()
    time_ns, steal_ns = _cpu_times_ns(machine)
    return Environment(
        schema=SCHEMA,
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        kernel=platform.release(),
        kernel_options=kernel_options(machine.read("/proc/cmdline") or ""),
        vulnerabilities=vulnerabilities(machine),
        architecture=platform.machine(),
        cpu_model=field(machine.lines("/proc/cpuinfo"), "model name"),
        cpus_online=os.cpu_count(),
        cpus_allowed=tuple(sorted(os.sched_getaffinity(0))),
        governor=summarise(governors(machine)),
        turbo=turbo(machine),
        smt_active=machine.flag(f"{CPUS}/smt/active"),
        smt_control=machine.read(f"{CPUS}/smt/control"),
        clocksource=machine.read(f"{CLOCK}/current_clocksource"),
        transparent_hugepages=machine.chosen(HUGE_PAGES),
        virtual=is_virtual(machine),
        product_name=machine.read("/sys/class/dmi/id/product_name"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        sysctls={name: _sysctl(machine, name, read_sysctl) for name in _SYSCTLS},
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: _version(name) for name in _libraries()},
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


def vulnerabilities(machine: MachineFiles) -> dict[str, str | None]:
    """Tell of each vulnerability of CPUs what the kernel does about it."""
    return {path.name: machine.read(path) for path in machine.matching(f"{CPUS}/vulnerabilities/*")}


def governors(machine: MachineFiles) -> dict[int, str]:
    """Tell of each CPU what chooses its frequency; nothing where the kernel has no say in that."""
    paths = machine.matching(f"{CPUS}/cpu[0-9]*/cpufreq/scaling_governor")
    found = {int(path.parts[-3].removeprefix("cpu")): machine.read(path) for path in paths}
    return {cpu: governor for cpu, governor in found.items() if governor is not None}


def turbo(machine: MachineFiles) -> bool | None:
    """Tell whether boost is allowed; Intel's driver has a switch of its own, which says the opposite."""
    disabled = machine.flag(NO_TURBO)
    return machine.flag(BOOST) if disabled is None else not disabled


def is_virtual(machine: MachineFiles) -> bool | None:
    """Tell whether the CPU says that it runs under a hypervisor; only x86 has such a flag."""
    flags = field(machine.lines("/proc/cpuinfo"), "flags")
    return None if flags is None else "hypervisor" in flags.split()


def field(lines: list[str], name: str) -> str | None:
    """Return the value of the first line ``name : value``."""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _cpu_times_ns(machine: MachineFiles) -> tuple[int | None, int | None]:
    ticks = cpu_ticks(machine).get("cpu")
    if ticks is None:
        return None, None
    tick_ns = _NS_PER_S // os.sysconf("SC_CLK_TCK")
    return sum(ticks) * tick_ns, ticks[STEAL] * tick_ns


def cpu_ticks(machine: MachineFiles) -> dict[str, tuple[int, ...]]:
    """Return what ``cpu``, which is all together, ``cpu0`` and so on have spent since the machine's start.

    These are the first eight fields of proc_stat(5), user to steal, in ticks of 10 ms; what follows them there is
    counted in user already. A kernel that has fewer tells nothing.
    """
    rows = [line.split() for line in machine.lines("/proc/stat") if line.startswith("cpu")]
    return {name: tuple(map(int, times[:_TIME_FIELDS])) for name, *times in rows if len(times) >= _TIME_FIELDS}


def _libraries() -> list[str]:
    pinned = (line for path in ROOT.glob("impls/*/requirements.txt") for line in path.read_text().splitlines())
    return sorted(_LIBRARIES | {name for name, equal, _ in (line.partition("==") for line in pinned) if equal})


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sysctl(machine: MachineFiles, name: str, read: Callable[[str], str] | None) -> str | None:
    """Read a setting of a host; those that are the machine's alone are not to be seen in a namespace."""
    if read is not None:
        with suppress(OSError):
            return read(name)
    return machine.sysctl(name)


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
