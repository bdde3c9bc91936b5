"""How fast a CPU runs, and how fast it wakes up."""

from typing import Final

from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.system import System
from harness.environment import BOOST, CLOCK, CPUS, NO_TURBO, governors, summarise, turbo
from harness.testbed import cpus

_FIXED: Final = "performance"
_BY_HAND: Final = "userspace"
LONGEST_EXIT_US: Final = 10
"""Of an idle state: waking up from it is then a tenth of what a short request takes, and less than the noise.

The kernel's figures are in Documentation/admin-guide/pm/cpuidle.rst: C1 takes one or two, C6 from 85 on.
"""
FAST_CLOCKS: Final = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "xen")
"""Those that a program reads without a system call (vdso(7), arch/x86/entry/vdso and its like)."""
SLOW_CLOCKS: Final = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit", "hyperv_clocksource_msr")
"""Registers of a device, about a microsecond for each reading, or too coarse for it."""
_NO_FREQUENCY: Final = "the kernel shows no control of the frequency here; in a virtual machine its host has it"


def _governor(system: System) -> Finding:
    found = governors(system.files)
    said = summarise(found)
    if said is None:
        return unknown(_NO_FREQUENCY)
    if set(found.values()) == {_FIXED}:
        return ok(said)
    mend = f"echo {_FIXED} | tee {CPUS}/cpu[0-9]*/cpufreq/scaling_governor"
    if set(found.values()) <= {_FIXED, _BY_HAND}:
        return warning(f"{said}: somebody has set it by hand", mend)
    return problem(said, mend)


def _turbo(system: System) -> Finding:
    allowed = turbo(system.files)
    if allowed is None:
        return unknown(_NO_FREQUENCY)
    if not allowed:
        return ok("off")
    value, name = (1, NO_TURBO) if system.files.flag(NO_TURBO) is not None else (0, BOOST)
    return warning("on", f"echo {value} > {name}")


def _idle_states(system: System) -> Finding:
    states = system.files.matching(f"{CPUS}/cpu[0-9]*/cpuidle/state[0-9]*")
    if not states:
        return unknown("the kernel shows no idle states here; in a virtual machine its host has them")
    deep: dict[str, int] = {}
    for state in states:
        exit_us = system.files.number(state / "latency") or 0
        if exit_us > LONGEST_EXIT_US and not system.files.flag(state / "disable"):
            deep[system.files.read(state / "name") or state.name] = exit_us
    if not deep:
        return ok(f"none that takes more than {LONGEST_EXIT_US} µs to leave")
    said = ", ".join(f"{name} takes {exit_us:,} µs to leave" for name, exit_us in sorted(deep.items(), key=str))
    return warning(
        said,
        f"for state in {CPUS}/cpu[0-9]*/cpuidle/state[0-9]*; do "
        f'[ "$(cat "$state/latency")" -le {LONGEST_EXIT_US} ] || echo 1 > "$state/disable"; done',
    )


def _clock(system: System) -> Finding:
    current = system.files.read(f"{CLOCK}/current_clocksource")
    if current is None:
        return unknown("the kernel does not say")
    if current in FAST_CLOCKS:
        return ok(current)
    available = (system.files.read(f"{CLOCK}/available_clocksource") or "").split()
    fast = next((name for name in FAST_CLOCKS if name in available), None)
    mend = f"echo {fast} > {CLOCK}/current_clocksource" if fast else None
    beside = "" if fast else ", and there is no faster one: see why with 'dmesg | grep -i clocksource'"
    if current in SLOW_CLOCKS:
        return problem(f"{current}{beside}", mend)
    return warning(f"{current}, of which it is not known how fast it is", mend)


def _ticks(system: System) -> Finding:
    without = _listed(system, f"{CPUS}/nohz_full")
    isolated = _listed(system, f"{CPUS}/isolated")
    server = set(system.roles.server)
    for name, chosen in (("nohz_full", without), ("isolcpus", isolated)):
        if chosen & server and not server <= chosen:
            return warning(
                f"{name} has CPU {cpus.write(chosen & server)} of the server's, and not CPU "
                f"{cpus.write(server - chosen)}: its workers are not alike; choose with --server-cpus"
            )
    said = [f"{name} has CPU {cpus.write(chosen)}" for name, chosen in (("isolcpus", isolated),) if chosen]
    if without & server:
        return warning(f"nohz_full has CPU {cpus.write(without & server)} of the server's")
    return ok(", ".join(said) or "no CPU is set apart")


def _listed(system: System, name: str) -> set[int]:
    try:
        return set(cpus.parse(system.files.read(name) or ""))
    except ValueError:  # nothing, or "(null)"
        return set()


AREA: Final = Area(
    "Speed of the CPUs",
    (
        Check(
            "cpu.governor", "frequency governor", "performance on every CPU",
            "a server that idles more gets a lower frequency, and seems to need more CPU per request", _governor,
        ),
        Check(
            "cpu.turbo", "turbo", "off",
            "the frequency follows temperature and how many cores are busy, so figures drift with both", _turbo,
        ),
        Check(
            "cpu.idle", "idle states", f"none that takes more than {LONGEST_EXIT_US} µs to leave",
            "a request that finds its CPU asleep waits for that; the quicker a server, the oftener", _idle_states,
        ),
        Check(
            "cpu.clock", "clock source", "one that programs read without a system call, such as tsc",
            "client and servers read the clock for each request, and a slow one costs more than the request's own code",
            _clock,
        ),
        Check(
            "cpu.isolation", "CPUs set apart", "isolcpus has all or none of the server's CPUs, nohz_full none",
            "nohz_full makes each system call dearer, and isolcpus keeps other programs off some workers only", _ticks,
        ),
    ),
)  # fmt: skip
