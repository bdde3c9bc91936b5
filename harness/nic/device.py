"""A network device of the network namespace that this process is in, with all that decides who works on its packets."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput
from harness.nic import interrupts, queues
from harness.nic.interrupts import Interrupt
from harness.nic.netlink import Channels, Netlink
from harness.nic.queues import RxQueue, TxQueue

LOOPBACK, BRIDGE = "loopback", "bridge"
_LOOPBACK_TYPE = 772
"""ARPHRD_LOOPBACK (linux/if_arp.h)."""
_IFF_UP = 1
"""Of netdevice(7)'s flags."""
_ROOT = Path("/")
_WITHOUT_QUEUES = {LOOPBACK, BRIDGE, "bond", "dummy", "geneve", "ipvlan", "macvlan", "team", "vlan", "vxlan"}
"""Kinds of devices without a queue that anything waits in: their packets are those of other devices, or nobody's."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where the kernel is asked; tests have files of their own."""

    root: Path = _ROOT
    """The folder with ``sys`` and ``proc`` in it."""
    netlink: Netlink = field(default_factory=Netlink)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A device at one moment."""

    name: str
    index: int
    kind: str | None
    """What it is when it is no hardware: ``loopback``, ``veth``, ``bridge``…"""
    driver: str | None
    """None for what is no hardware."""
    is_up: bool
    """Whether it is switched on and has a link."""
    speed_mbps: int | None
    numa_node: int | None
    """The node of the machine's memory that it is attached to; None where there is but one, or none is told."""
    channels: Channels | None
    """None where the driver lets nobody change its queues."""
    coalescing: Mapping[str, int]
    """By ethtool(8)'s names; empty where the driver has none (``netlink.Netlink.coalescing``)."""
    rx: tuple[RxQueue, ...]
    tx: tuple[TxQueue, ...]
    interrupts: tuple[Interrupt, ...]


def names(kernel: Kernel | None = None) -> list[str]:
    """Tell the names of all devices."""
    root = kernel.root if kernel else _ROOT
    # There are files, too, such as bonding_masters.
    return sorted(path.name for path in (root / "sys/class/net").iterdir() if path.is_dir())


def read(name: str, kernel: Kernel | None = None) -> Nic:
    """Read a device.

    :raises BadInput: when there is none of that name, or /sys shows those of another network namespace
    :raises OSError: when the kernel does not answer
    """
    kernel = kernel or Kernel()
    found = kernel.root / "sys/class/net" / name
    index = _index(name, kernel)
    return Nic(
        name=name,
        index=index,
        kind=LOOPBACK if _number(found / "type") == _LOOPBACK_TYPE else kernel.netlink.kind(name),
        driver=_link_name(found / "device/driver"),
        is_up=_is_up(found),
        speed_mbps=_natural(found / "speed"),
        numa_node=_numa_node(found / "device"),
        channels=kernel.netlink.channels(name),
        coalescing=kernel.netlink.coalescing(name),
        rx=queues.read_rx(kernel.root, name),
        tx=queues.read_tx(kernel.root, name),
        interrupts=interrupts.read(kernel.root, name),
    )


def check_queues(nic: Nic, kernel: Kernel | None = None) -> None:
    """See that packets wait in the device's own queues. Raises BadInput."""
    if nic.kind not in _WITHOUT_QUEUES:
        return
    folder = (kernel or Kernel()).root / "sys/class/net" / nic.name
    below = [path.name.removeprefix("lower_") for path in folder.glob("lower_*")]
    advice = f"name what its packets go through: {', '.join(sorted(below))}" if below else "name a network card"
    raise BadInput(f"{nic.name}: is a device of kind {nic.kind}, with no queues of its own; {advice}")


def _is_up(device: Path) -> bool:
    """Tell by flags and carrier: many drivers leave operstate at ``unknown`` (the kernel's operstates.rst)."""
    flags = int(_text(device / "flags") or "0", 16)
    return bool(flags & _IFF_UP) and _text(device / "carrier") == "1"


def _index(name: str, kernel: Kernel) -> int:
    """Return the number of a device; see that the kernel's files and its netlink speak of the same one."""
    index = None if "/" in name else _number(kernel.root / "sys/class/net" / name / "ifindex")
    real_root = kernel.root == _ROOT
    here = {device: number for number, device in socket.if_nameindex()} if real_root else {name: index}
    if index is None and name not in here:
        known = ", ".join(names(kernel)) or "none"
        raise BadInput(f"{name!r} is no network device here; there are: {known}")
    if index is None or here.get(name) != index:
        raise BadInput(
            f"{name}: /sys shows the devices of another network namespace; start the command with one of this "
            "namespace, as ip netns exec does"
        )
    return index


def _numa_node(bus_device: Path) -> int | None:
    """Tell the node; of virtio it is the device under it that has one."""
    for path in (bus_device / "numa_node", bus_device / "../numa_node"):
        node = _natural(path)
        if node is not None:
            return node
    return None


def _link_name(path: Path) -> str | None:
    try:
        return path.readlink().name
    except OSError:
        return None


def _natural(path: Path) -> int | None:
    """Read a number; -1 stands for none."""
    number = _number(path)
    return None if number is None or number < 0 else number


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:  # some cannot be read while the device is down
        return None
