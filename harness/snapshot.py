"""Everything that is observed of a slice, read before and after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import observe
from harness.observe import CpuClock, CpuTime
from harness.schema import ContextSwitches, CpuUse, TcpCounts


class BackendEnded(Exception):  # noqa: N818  as GeneratorFailed: what happened
    """The backend has ended, so that it is no contestant's fault when nothing comes back."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is observed: processes, CPUs, and the network of the server's host."""

    server_pids: Sequence[int]
    backend_pids: Sequence[int]
    cpus: Sequence[int]
    """Those of server, client and backend."""
    server_net: Path
    """The ``/proc/PID/net`` of the server's host."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What happened between two snapshots."""

    server: CpuTime
    backend: CpuTime
    switches: ContextSwitches
    tcp: TcpCounts
    cpus: list[CpuUse]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of a subject at one moment."""

    server: CpuTime
    backend: CpuTime
    switches: ContextSwitches
    tcp: TcpCounts
    clocks: dict[int, CpuClock]
    resident_bytes: int

    @classmethod
    def before(cls, subject: Subject) -> "Snapshot | None":
        """Read what takes long first, and the clocks last. None when the server has ended; raises BackendEnded."""
        try:
            switches = observe.context_switches(subject.server_pids)
            tcp = observe.tcp_counts(subject.server_net)
            resident = observe.resident_bytes(subject.server_pids)
            clocks = observe.cpu_clocks(subject.cpus)
            return cls(observe.cpu_time(subject.server_pids), _backend(subject), switches, tcp, clocks, resident)
        except ProcessLookupError:
            return None

    @classmethod
    def after(cls, subject: Subject) -> "Snapshot | None":
        """Read the clocks first. None when the server has ended; raises BackendEnded."""
        try:
            server, backend = observe.cpu_time(subject.server_pids), _backend(subject)
            clocks = observe.cpu_clocks(subject.cpus)
            switches = observe.context_switches(subject.server_pids)
            tcp = observe.tcp_counts(subject.server_net)
            return cls(server, backend, switches, tcp, clocks, observe.resident_bytes(subject.server_pids))
        except ProcessLookupError:
            return None

    def until(self, later: "Snapshot") -> Observed:
        """Tell what happened since."""
        return Observed(
            server=later.server - self.server,
            backend=later.backend - self.backend,
            switches=ContextSwitches(
                later.switches.voluntary - self.switches.voluntary,
                later.switches.involuntary - self.switches.involuntary,
            ),
            tcp=TcpCounts(
                **{name: getattr(later.tcp, name) - getattr(self.tcp, name) for name in TcpCounts.__struct_fields__}
            ),
            cpus=[observe.cpu_use(self.clocks[cpu], later.clocks[cpu], cpu) for cpu in self.clocks],
        )


def _backend(subject: Subject) -> CpuTime:
    try:
        return observe.cpu_time(subject.backend_pids)
    except ProcessLookupError:
        raise BackendEnded("the backend has ended, or a worker of it") from None
