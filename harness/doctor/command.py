"""The command doctor: looks at this machine, and says what is to be mended before anything is measured."""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness import hosts, results
from harness.doctor import netfilter, tools
from harness.doctor.check import Area, Check, Finding
from harness.doctor.checks import AREAS
from harness.doctor.system import Roles, System
from harness.doctor.watch import watch
from harness.doctor_schema import Diagnosis, Looked
from harness.errors import BadInput
from harness.machine_files import MachineFiles
from harness.nic import device
from harness.nic.device import Nic
from harness.report import doctor as report
from harness.schema import Cell
from harness.testbed import Choice, open_testbed
from harness.testbed.placement import Cpus

WATCHED_S = 1.0
"""Of 10 ms ticks: so each CPU's share is known to 1 %."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the machine is to be fit for."""

    workers: int
    concurrency: int
    idle: int
    testbed: Choice
    cpus: Cpus
    devices: Sequence[str]
    """Network devices that servers are to be reached by; none: those of the machine, for what it is worth."""
    json_file: Path | None
    """Where the findings are written, too."""
    as_json: bool
    """Whether they are printed as JSON, and not as text."""


def doctor(request: Request, output: Console) -> bool:
    """Look, and show what was found; tell whether there is no problem. Raises BadInput."""
    if request.json_file:
        try:
            results.check_writable(request.json_file)
        except OSError as problem:
            raise BadInput(f"--json {request.json_file}: cannot be written: {problem.strerror}") from None
    found = diagnose(look(request))
    if request.json_file:
        results.write_json(request.json_file, found)
    if request.as_json:
        output.out(results.as_json(found), end="", highlight=False)
    else:
        report.show(output, found)
    return not found.problems


def look(request: Request) -> System:
    """Collect what the checks look at, which takes a second. Raises BadInput."""
    files = MachineFiles()
    # The proxy has one side more than the others.
    cell = Cell("proxy", request.workers, request.concurrency, idle=request.idle)
    placed = hosts.place(request.cpus, cell)
    roles = Roles(server=placed.server_cpus, client=placed.generator_cpus, backend=placed.backend_cpus)
    watched = watch(files, WATCHED_S)
    with open_testbed("loopback" if request.testbed == "loopback" else "auto", with_backend=True) as testbed:
        return System(
            files=files,
            load=cell,
            roles=roles,
            allowed=hosts.allowed_cpus(),
            testbed=testbed.name,
            testbed_notes=testbed.notes,
            wants_netns=request.testbed == "netns",
            devices=_devices(request.devices),
            names_devices=bool(request.devices),
            watched=watched,
            ruleset=netfilter.read(),
            programs=tools.find_all(),
        )


def _devices(names: Sequence[str]) -> list[Nic]:
    """Read network devices; without names those that are up and have a driver. Raises BadInput."""
    found = []
    for name in names or device.names():
        try:
            nic = device.read(name)
            if names:
                device.check_queues(nic)
        except BadInput as problem:
            raise BadInput(f"--nic {problem}") from None
        except OSError as problem:
            raise BadInput(f"--nic {name}: the kernel does not tell of this device: {problem.strerror}") from None
        if names or (nic.is_up and nic.driver):
            found.append(nic)
    return found


def _by_device(area: Area, system: System) -> list[tuple[Check, Finding]]:
    """Look at all of an area, and have together what is of one device."""
    found = [(check, finding) for check in area.checks for finding in check.findings(system)]
    return sorted(found, key=lambda one: one[1].device or "")


def diagnose(system: System) -> Diagnosis:
    """Have all checks look."""
    checks = [
        Looked(
            id=check.id,
            area=area.title,
            title=check.title,
            device=finding.device,
            state=finding.state,
            found=finding.found,
            why=check.why,
            mend=finding.mend,
        )
        for area in AREAS
        for check, finding in _by_device(area, system)
    ]
    states = Counter(one.state for one in checks)
    return Diagnosis(
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        kernel=platform.release(),
        is_root=system.is_root,
        testbed=system.testbed,
        server_cpus=tuple(system.roles.server),
        client_cpus=tuple(system.roles.client),
        backend_cpus=tuple(system.roles.backend),
        devices=tuple(nic.name for nic in system.devices),
        problems=states["problem"],
        warnings=states["warning"],
        unknown=states["unknown"],
        checks=tuple(checks),
    )
