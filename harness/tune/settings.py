"""The settings of a card and its host: a kind is a class that knows how one is read and written.

Values are texts, as in a table or a file: a number, or CPUs as in ``0-3`` or ``none``. A setting is a key, too: two
that are equal are the same one. They are stored in a file, whose values decide what is written by root: so each field
takes nothing but what this module's own settings have.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from harness.nic import interrupts, queues
from harness.nic.device import Kernel
from harness.nic.interrupts import Interrupt
from harness.testbed import cpus

NO_CPUS = "none"

QueueName = Annotated[str, msgspec.Meta(pattern=r"^[rt]x-[0-9]{1,4}\Z")]
ChannelKind = Literal["combined", "rx", "tx"]
CoalescingName = Literal["adaptive-rx", "adaptive-tx", "rx-usecs", "tx-usecs"]
SysctlName = Literal[
    "net.core.netdev_max_backlog",
    "net.core.rps_sock_flow_entries",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_tw_reuse",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where settings are read and written."""

    kernel: Kernel
    device: str

    @property
    def root(self) -> Path:
        """The folder with ``sys`` and ``proc`` in it."""
        return self.kernel.root


class ChannelCount(msgspec.Struct, frozen=True, tag="channels"):
    """How many queues of a kind there are."""

    kind: ChannelKind

    def read(self, place: Place) -> str | None:
        """Return the value; None where there is no such setting. Raises OSError."""
        found = place.kernel.netlink.channels(place.device)
        return None if found is None else str(getattr(found, self.kind))

    def write(self, place: Place, value: str) -> None:
        """Change it. Raises OSError."""
        place.kernel.netlink.set_channels(place.device, self.kind, int(value))

    def __str__(self) -> str:
        return f"{self.kind} channels"


class Coalescing(msgspec.Struct, frozen=True, tag="coalescing"):
    """How long the device waits before it interrupts."""

    name: CoalescingName

    def read(self, place: Place) -> str | None:
        """As ``ChannelCount`` has it."""
        found = place.kernel.netlink.coalescing(place.device).get(self.name)
        return None if found is None else str(found)

    def write(self, place: Place, value: str) -> None:
        """As ``ChannelCount`` has it."""
        place.kernel.netlink.set_coalescing(place.device, self.name, int(value))

    def __str__(self) -> str:
        return self.name


class InterruptCpus(msgspec.Struct, frozen=True, tag="interrupt"):
    """The CPUs that may take an interrupt, which is known by its name: its number may be another after a change."""

    name: str
    turn: int = 0
    """Which of several that a driver has given the same name, in the order of their numbers."""

    def read(self, place: Place) -> str | None:
        """As ``ChannelCount`` has it."""
        found = self._find(place)
        return None if found is None else cpus.write(found.cpus)

    def write(self, place: Place, value: str) -> None:
        """As ``ChannelCount`` has it."""
        found = self._find(place)
        if found is None:
            raise FileNotFoundError(f"{place.device} has no interrupt {self.name}")
        interrupts.affinity_file(place.root, found.number).write_text(value)

    def _find(self, place: Place) -> Interrupt | None:
        found = interrupts.read(place.root, place.device)
        return next((one for one, of in zip(found, of_interrupts(found), strict=True) if of == self and one.cpus), None)

    def __str__(self) -> str:
        return f"interrupt {self.name}"


class QueueCpus(msgspec.Struct, frozen=True, tag="queue-cpus"):
    """The CPUs that work on what a queue receives, or that send through it."""

    queue: QueueName
    name: Literal["rps_cpus", "xps_cpus"]

    def read(self, place: Place) -> str | None:
        """As ``ChannelCount`` has it."""
        text = _read(queues.file(place.root, place.device, self.queue, self.name))
        return None if text is None else write_cpus(cpus.parse_mask(text))

    def write(self, place: Place, value: str) -> None:
        """As ``ChannelCount`` has it."""
        chosen = () if value == NO_CPUS else cpus.parse(value)
        queues.file(place.root, place.device, self.queue, self.name).write_text(cpus.mask(chosen))

    def __str__(self) -> str:
        return f"{self.queue} {self.name}"


class QueueFlows(msgspec.Struct, frozen=True, tag="queue-flows"):
    """Of how many connections a queue remembers the CPU."""

    queue: QueueName

    def read(self, place: Place) -> str | None:
        """As ``ChannelCount`` has it."""
        return _read(queues.file(place.root, place.device, self.queue, "rps_flow_cnt"))

    def write(self, place: Place, value: str) -> None:
        """As ``ChannelCount`` has it."""
        queues.file(place.root, place.device, self.queue, "rps_flow_cnt").write_text(value)

    def __str__(self) -> str:
        return f"{self.queue} rps_flow_cnt"


class Sysctl(msgspec.Struct, frozen=True, tag="sysctl"):
    """A setting of the host, or of the network namespace."""

    name: SysctlName

    def read(self, place: Place) -> str | None:
        """As ``ChannelCount`` has it; with single spaces."""
        text = _read(self._file(place))
        return None if text is None else " ".join(text.split())

    def write(self, place: Place, value: str) -> None:
        """As ``ChannelCount`` has it."""
        self._file(place).write_text(value)

    def _file(self, place: Place) -> Path:
        return place.root.joinpath("proc/sys", *self.name.split("."))

    def __str__(self) -> str:
        return self.name


Setting = ChannelCount | Coalescing | InterruptCpus | QueueCpus | QueueFlows | Sysctl
OF_QUEUES = (InterruptCpus, QueueCpus, QueueFlows)
"""What comes and goes with queues."""


def of_interrupts(found: Sequence[Interrupt]) -> list[InterruptCpus]:
    """Return the settings of interrupts, in the same order."""
    seen: Counter[str] = Counter()
    settings = []
    for one in found:
        settings.append(InterruptCpus(one.name, seen[one.name]))
        seen[one.name] += 1
    return settings


def write_cpus(chosen: tuple[int, ...]) -> str:
    """Write CPUs as a value."""
    return cpus.write(chosen) or NO_CPUS


def _read(path: Path) -> str | None:
    """Read a file of the kernel; some are there and answer that there is no such thing."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
