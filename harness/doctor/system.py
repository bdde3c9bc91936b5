"""All that checks look at: files of the kernel, and what is in none."""

import dataclasses
from collections.abc import Mapping, Sequence

from harness.doctor.netfilter import Ruleset
from harness.doctor.watch import Watched
from harness.environment import field
from harness.machine_files import MachineFiles
from harness.nic.device import Nic
from harness.schema import Cell, TestbedName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roles:
    """The CPUs of each side of a comparison, as ``testbed/placement.py`` chooses them."""

    server: Sequence[int]
    client: Sequence[int]
    backend: Sequence[int]

    @property
    def all(self) -> list[int]:
        """List the CPUs of any side."""
        return sorted({*self.server, *self.client, *self.backend})

    @property
    def others(self) -> set[int]:
        """The CPUs of client and backend."""
        return {*self.client, *self.backend}


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """A machine, and the comparison that it is to be fit for."""

    files: MachineFiles
    load: Cell
    """What is asked of the machine: workers, connections at a time, idle ones."""
    roles: Roles
    allowed: Sequence[int]
    """The CPUs that a comparison may use."""
    testbed: TestbedName
    testbed_notes: Sequence[str] = ()
    """Why this one, and what it lacks."""
    wants_netns: bool = False
    """Whether loopback will not do."""
    devices: Sequence[Nic] = ()
    """The network devices to be looked at."""
    names_devices: bool = False
    """Whether the user has named them, so that servers are to be reached by them."""
    watched: Watched = dataclasses.field(default_factory=Watched)
    ruleset: Ruleset | None = None
    """What nf_tables has; None where that cannot be told."""
    programs: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """Where each program of ``tools.py`` is; None for one that is missing."""

    @property
    def is_root(self) -> bool:
        """Whether this process is root's."""
        return self._status("Uid").split()[1:2] == ["0"]

    def may(self, capability: int) -> bool:
        """Tell whether this process has a capability, by its number (linux/capability.h)."""
        return bool(int(self._status("CapEff") or "0", 16) >> capability & 1)

    def _status(self, name: str) -> str:
        """Return a line of this process's own (proc_pid_status(5)); nothing where there is none."""
        return field(self.files.lines("/proc/self/status"), name) or ""

    @property
    def uses_own_network(self) -> bool:
        """Whether packets of servers go through this machine's own network, and not through hosts made for them."""
        return self.names_devices or self.testbed == "loopback"

    @property
    def connections(self) -> int:
        """How many are open at a time."""
        return self.load.concurrency + self.load.idle
