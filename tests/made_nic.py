"""A network card that there is not: files as /sys and /proc have them, and what netlink would answer."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.nic.device import Kernel
from harness.nic.netlink import Channels, Netlink

NAME = "card0"
FIRST_INTERRUPT = 40
ALL = "0-3"
HOST = {
    "kernel/random/boot_id": "0f3a",
    "net/core/netdev_max_backlog": "1000",
    "net/core/rps_sock_flow_entries": "0",
    "net/core/somaxconn": "4096",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/tcp_max_syn_backlog": "20000",
    "net/ipv4/tcp_tw_reuse": "2",
}


@dataclass
class MadeNetlink(Netlink):
    """A driver that takes what it is given, but for what it refuses."""

    tree: "Tree"
    has: Channels
    coalesces: dict[str, int] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)
    """The errno with which it refuses to change something, by the name of that."""
    rounds_to: int = 1
    """The step of its times, in microseconds."""

    def kind(self, device: str) -> str | None:
        """Say that it is hardware."""
        del device
        return None

    def channels(self, device: str) -> Channels | None:
        """Tell its queues."""
        del device
        return self.has

    def set_channels(self, device: str, kind: str, count: int) -> None:
        """Have so many queues, and interrupts with new numbers for them."""
        self._check(kind)
        self.has = replace(self.has, **{kind: count})
        self.tree.make_queues(count)
        self.tree.make_interrupts(device, count)

    def coalescing(self, device: str) -> Mapping[str, int]:
        """Tell what was set."""
        del device
        return self.coalesces

    def set_coalescing(self, device: str, name: str, value: int) -> None:
        """Take a value."""
        del device
        self._check(name)
        self.coalesces[name] = value // self.rounds_to * self.rounds_to

    def _check(self, name: str) -> None:
        if name in self.refuses:
            raise OSError(self.refuses[name], os.strerror(self.refuses[name]))


@dataclass(frozen=True)
class Tree:
    """The files."""

    root: Path

    def make_queues(self, count: int) -> None:
        """Have so many of both kinds; those that come have no setting, and those that go lose theirs."""
        queues = self.root / "sys/class/net" / NAME / "queues"
        for number in range(64):
            for queue, settings in (
                (f"rx-{number}", {"rps_cpus": "0", "rps_flow_cnt": "0"}),
                (f"tx-{number}", {"xps_cpus": "0"}),
            ):
                folder = queues / queue
                if number < count and not folder.exists():
                    for name, text in settings.items():
                        self.write(folder / name, text)
                elif number >= count and folder.exists():
                    for path in folder.iterdir():
                        path.unlink()
                    folder.rmdir()

    def make_interrupts(self, device: str, queues: int) -> None:
        """Have one for the link, and one for each queue, with numbers that no queue had before."""
        vectors = self.root / "sys/bus/pci/devices/0/msi_irqs"
        old = [int(path.name) for path in vectors.glob("*")]
        for number in old:
            (vectors / str(number)).unlink()
        first = max(old, default=FIRST_INTERRUPT - 1) + 1
        names = [f"{device}-config", *(f"{device}-TxRx-{queue}" for queue in range(queues))]
        for number, name in enumerate(names, first):
            self.write(vectors / str(number), "msix")
            self.write(self.root / f"sys/kernel/irq/{number}/actions", name)
            self.write(self.root / f"proc/irq/{number}/smp_affinity_list", ALL)

    def copy_card(self, name: str, index: int) -> None:
        """Make another card like the one that there is."""
        net = self.root / "sys/class/net"
        shutil.copytree(net / NAME, net / name, symlinks=True)
        self.write(net / name / "ifindex", f"{index}")

    def write(self, path: Path, text: str) -> None:
        """Make a file, with the folders that it takes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def make(root: Path, *, queues: int = 1, most: int = 8) -> Kernel:
    """Make a card with so many queues in a folder, in a machine of four CPUs."""
    tree = Tree(root)
    device = root / "sys/class/net" / NAME
    for name, text in {
        "ifindex": "7",
        "type": "1",
        "operstate": "unknown",
        "flags": "0x1003",
        "carrier": "1",
        "speed": "10000",
    }.items():
        tree.write(device / name, text)
    bus = root / "sys/bus/pci"
    for name, text in {"devices/0/numa_node": "1", "drivers/maker/module": ""}.items():
        tree.write(bus / name, text)
    (device / "device").symlink_to(bus / "devices/0")
    (bus / "devices/0/driver").symlink_to(bus / "drivers/maker")
    tree.make_queues(queues)
    tree.make_interrupts(NAME, queues)
    tree.write(root / "sys/devices/system/cpu/online", ALL)
    (root / "run").mkdir()
    for name, text in HOST.items():
        tree.write(root / "proc/sys" / name, text)
    channels = Channels(combined=queues, max_combined=most)
    coalescing = {"adaptive-rx": 1, "rx-usecs": 20, "rx-frames": 5, "tx-usecs": 0}
    return Kernel(root, MadeNetlink(tree, channels, coalescing))
