"""Who takes the interrupts of devices."""

from typing import Final

from harness.doctor.check import Area, Check, Finding, ok, warning
from harness.doctor.system import System

_DAEMON: Final = "irqbalance"


def _daemon(system: System) -> Finding:
    names = {system.files.read(path) for path in system.files.matching("/proc/[0-9]*/comm")}
    if _DAEMON in names:
        return warning("is running", f"systemctl stop {_DAEMON}")
    return ok("is not running")


AREA: Final = Area(
    "Interrupts",
    (
        Check(
            "irq.balance", _DAEMON, "is not running",
            "every ten seconds it may move interrupts to other CPUs, those that were set by hand, too", _daemon,
        ),
    ),
)  # fmt: skip
