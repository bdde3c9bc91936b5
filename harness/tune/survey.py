"""Reads a device and its host, and makes the plan for them."""

from harness.errors import BadInput
from harness.nic import device as devices
from harness.nic.device import Nic
from harness.testbed import cpus as cpu_sets
from harness.tune import plan
from harness.tune.plan import Plan, Wishes
from harness.tune.request import Request
from harness.tune.settings import Place, Sysctl, SysctlName


def read(request: Request, place: Place) -> tuple[Nic, Wishes]:
    """Read the device, and see that it can be tuned for the CPUs. Raises BadInput."""
    nic = devices.read(request.device, place.kernel)
    try:
        devices.check_queues(nic, place.kernel)
    except BadInput as problem:
        raise BadInput(f"--nic {problem}") from None
    online = cpu_sets.parse((place.root / "sys/devices/system/cpu/online").read_text().strip())
    if request.cpus and not set(request.cpus) <= set(online):
        raise BadInput(
            f"--cpus {cpu_sets.write(request.cpus)}: not all of these are online, but {cpu_sets.write(online)}"
        )
    return nic, Wishes(cpus=request.cpus or online, rfs=request.rfs, usecs=request.usecs, leave=request.leave)


def make_plan(nic: Nic, wishes: Wishes, place: Place) -> Plan:
    """Plan, with the settings of the host as they are. Raises OSError."""
    found: dict[SysctlName, str] = {}
    for name in plan.SYSCTLS:
        value = Sysctl(name).read(place)
        if value is not None:
            found[name] = value
    return plan.make(nic, wishes, found)
