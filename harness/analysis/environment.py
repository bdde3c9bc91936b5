"""What differs between two environments: before and after a run, or of two runs."""

from collections.abc import Iterator, Mapping

from harness.environment_schema import Environment

STEAL_SHARE = 0.01
"""From here on the host took so much of the CPUs' time that it shows in the figures."""
FOREIGN_LOAD = 1.0
"""A run keeps every CPU that it may use busy; what the load average rose by beyond that is somebody else's."""

_FLOW_STEERING = "net.core.rps_sock_flow_entries"
"""A setting of the whole machine that a run with ``--rfs`` changes, and that nothing without it is steered by."""
_NOT_INSTALLED = "not installed"
_DEFAULT = "default"


def changes(before: Environment, after: Environment, *, rfs: bool = False) -> tuple[str, ...]:
    """Name what changed during a run, a short sentence each; what always moves is left out.

    ``rfs`` is whether the run has receive flow steering; else another one's is left out, too.
    """
    moved = ((name, old, new) for name, old, new in _differing(before, after) if rfs or name != _FLOW_STEERING)
    return (
        *(f"{name}: {old} before, {new} after" for name, old, new in moved),
        *_foreign_load(before, after),
        *_steal(before, after),
    )


def differences(old: Environment, new: Environment) -> tuple[str, ...]:
    """Name what two runs were measured on differently; what one of them does not tell is left out."""
    return tuple(f"{name}: {then} then, {now} now" for name, then, now in _differing(old, new))


def _differing(one: Environment, other: Environment) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and value of what both tell and is not the same."""
    mine, theirs = dict(settings(one)), dict(settings(other))
    for name, value in mine.items():
        if name in theirs and theirs[name] != value:
            yield name, value, theirs[name]


def settings(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield what stays as it is unless somebody changes it, by the name that people know it by."""
    cpus = " ".join(map(str, environment.cpus_allowed)) or None
    memory_mib = None if environment.memory_bytes is None else f"{environment.memory_bytes / 2**20:,.0f} MiB"
    plain: Mapping[str, str | None] = {
        "kernel": environment.kernel,
        "architecture": environment.architecture,
        "CPU": environment.cpu_model,
        "CPUs online": None if environment.cpus_online is None else str(environment.cpus_online),
        "CPUs of the run": cpus,
        "governor": environment.governor,
        "turbo": _switch(environment.turbo),
        "hyper-threading": _switch(environment.smt_active),
        "hyper-threading control": environment.smt_control,
        "clocksource": environment.clocksource,
        "transparent hugepages": environment.transparent_hugepages,
        "virtual machine": {None: None, True: "yes", False: "no"}[environment.virtual],
        "machine": environment.product_name,
        "memory": memory_mib,
        "python": environment.python,
        "revision": environment.commit,
    }
    yield from ((name, value) for name, value in plain.items() if value is not None)
    yield from _kernel_options(environment)
    for name, state in environment.vulnerabilities.items():
        if state is not None:
            yield f"mitigation of {name}", state
    for name, setting in environment.sysctls.items():
        if setting is not None:
            yield name, setting
    for name, version in environment.libraries.items():
        yield name, version or _NOT_INSTALLED


def _kernel_options(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield all options as one; version 1 does not tell, version 2 may have found none."""
    options = [f"{name}={value}" if value else name for name, value in sorted(environment.kernel_options.items())]
    if options or environment.schema > 1:
        yield "kernel options", " ".join(options) or _DEFAULT


def _switch(state: bool | None) -> str | None:  # noqa: FBT001  a value, not a mode
    return {None: None, True: "on", False: "off"}[state]


def _foreign_load(before: Environment, after: Environment) -> Iterator[str]:
    """Find a load of the last minute that the run cannot have made by itself."""
    if not before.load_average or not after.load_average or not after.cpus_allowed:
        return
    old, new = before.load_average[0], after.load_average[0]
    if new - old > len(after.cpus_allowed) + FOREIGN_LOAD:
        yield f"load average: {old:.1f} before, {new:.1f} after, which is more than the run makes on its CPUs"


def _steal(before: Environment, after: Environment) -> Iterator[str]:
    times = before.cpu_time_ns, after.cpu_time_ns, before.cpu_steal_ns, after.cpu_steal_ns
    if None in times:
        return
    time_before, time_after, steal_before, steal_after = (time or 0 for time in times)
    passed, stolen = max(1, time_after - time_before), steal_after - steal_before
    share = min(stolen, passed) / passed
    if share > STEAL_SHARE:
        yield f"steal: the host gave {share:.1%} of the CPU time during the run to others".replace("%", " %")
