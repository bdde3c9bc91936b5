"""The interrupts of a network device, which queue each is for, and which CPUs may take it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.testbed import cpus

_QUEUE = re.compile(r"(\d+)(?:-(?:rx|tx))?$", re.IGNORECASE)
"""How drivers name the interrupt of a queue: eth0-TxRx-3, virtio2-input.0, mlx5_comp3, eth0-q0-tx."""
_NO_QUEUE = re.compile(r"async|mgmn?t|config|event|pages|cmd|ctrl|link|misc|admin|aq", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One of a device's interrupts."""

    number: int
    name: str
    """As in /proc/interrupts; numbers are given out anew when a driver changes its queues, names come again."""
    queue: int | None
    """None for one that tells of something else than packets, such as the link."""
    cpus: tuple[int, ...]
    """Those that may take it; empty where the kernel does not say."""


def read(root: Path, device: str) -> tuple[Interrupt, ...]:
    """Find the interrupts of a device; none for one that is no hardware, or whose bus has them in common."""
    found = (_interrupt(root, device, number) for number in sorted(_numbers(root / "sys/class/net" / device)))
    return tuple(one for one in found if one is not None)


def affinity_file(root: Path, number: int) -> Path:
    """Return the file of the CPUs that may take an interrupt."""
    return root / f"proc/irq/{number}/smp_affinity_list"


def _numbers(device: Path) -> Iterator[int]:
    """Yield those that the bus gave to the device."""
    bus_device = _bus_device(device)
    vectors = [int(path.name) for path in (bus_device / "msi_irqs").glob("[0-9]*")]
    if vectors:
        yield from vectors
        return
    try:
        line = int((bus_device / "irq").read_text())
    except (OSError, ValueError):
        return
    if line > 0:
        yield line


def _bus_device(device: Path) -> Path:
    """Find the device of the bus; of virtio it is the one under virtio's own that has interrupts."""
    try:
        bus = (device / "device/subsystem").readlink().name
    except OSError:
        bus = ""
    return device / "device/.." if bus == "virtio" else device / "device"


def _interrupt(root: Path, device: str, number: int) -> Interrupt | None:
    """Describe one; None where nothing listens to it."""
    try:
        name = (root / f"sys/kernel/irq/{number}/actions").read_text().strip()
    except OSError:
        return None
    if not name:
        return None
    try:
        allowed = cpus.parse(affinity_file(root, number).read_text().strip())
    except (OSError, ValueError):
        allowed = ()
    return Interrupt(number, name, queue_of(name, device), allowed)


def queue_of(name: str, device: str) -> int | None:
    """Tell from its name which queue an interrupt is for; a device's only one has the device's own name."""
    own, _, _ = name.partition("@")
    if own == device:
        return 0
    # A number in the device's own name is none of a queue.
    rest = own.replace(device, "")
    found = _QUEUE.search(rest)
    return int(found[1]) if found and not _NO_QUEUE.search(rest) else None
