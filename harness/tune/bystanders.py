"""What is in the way of a tuned machine, and is the user's to end, as ``harness doctor`` sees it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.doctor import devices, interrupts, netfilter, packet_filters
from harness.doctor.netfilter import Ruleset
from harness.doctor.system import Roles, System
from harness.machine_files import MachineFiles
from harness.nic.device import Nic
from harness.schema import Cell
from harness.tune.plan import Wishes
from harness.tune.settings import Place

_OF_DEVICE: Final = "nic.node"
"""What tune cannot change of a device; the rest of that area is its own work."""
_CHECKS: Final = (
    *interrupts.AREA.checks,
    *(check for check in devices.AREA.checks if check.id == _OF_DEVICE),
    *packet_filters.AREA.checks,
)


def find(nic: Nic, wishes: Wishes, place: Place) -> Iterator[str]:
    """Yield a sentence for each that is there, and last where the commands are that mend it."""
    system = _system(nic, wishes, place)
    is_any = False
    for check in _CHECKS:
        for finding in check.findings(system):
            if finding.state in {"warning", "problem"}:
                is_any = True
                yield f"{check.title}: {finding.found}; {check.why}"
    if is_any:
        yield f"harness doctor --nic {nic.name} has the commands that mend these"


def _system(nic: Nic, wishes: Wishes, place: Place) -> System:
    """Look at the machine for servers that are reached by this device, on all its CPUs."""
    return System(
        files=MachineFiles(place.root),
        load=Cell("proxy", len(wishes.cpus), len(wishes.cpus)),
        roles=Roles(server=wishes.cpus, client=(), backend=()),
        allowed=wishes.cpus,
        testbed="loopback",
        devices=(nic,),
        names_devices=True,
        ruleset=netfilter.read() if place.root == Path("/") else Ruleset(),
    )
