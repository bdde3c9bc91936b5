"""A block: fresh processes of every server in a cell, and of the backend, that answer some rounds and end."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import ports
from harness.measure import Contestant, LoadSide, Turn, rate_rps
from harness.registry import Implementation
from harness.schema import PlannedCell
from harness.servers import Server, ServerFailed
from harness.testbed import Host, Testbed
from harness.worker_statistics import AcceptedConnections

BACKEND = "backend"


@dataclass(frozen=True, slots=True)
class Servers:
    """What is started for a block, and where."""

    implementations: Sequence[Implementation]
    backend: Implementation
    testbed: Testbed
    folder: Path
    """Where they print and log."""


@dataclass(frozen=True, slots=True)
class Block:
    """The servers of a block, up and answering."""

    contestants: list[Contestant]
    failures: dict[str, str]
    """Why others did not start, by name."""
    backend: Contestant | None

    @property
    def backend_pids(self) -> Sequence[int]:
        """The processes of the backend."""
        return self.backend.pids if self.backend else ()


@contextmanager
def start(servers: Servers, cell: PlannedCell) -> Iterator[Block]:
    """Start the servers of a cell, all at once, and wait until each answers. Raises ServerFailed for the backend."""
    with ExitStack() as stack:
        backend = None
        flags = ["-v", *(["-k"] if cell.workload == "keepalive" else [])]
        if cell.backend_cpus:
            host = servers.testbed.backend
            server = stack.enter_context(_server(servers, host, servers.backend, BACKEND, cell.backend_cpus, ["-v"]))
            backend = _contestant(server, BACKEND, len(cell.backend_cpus))
            flags += ["-x", server.listen[0]]
        started: dict[str, Server] = {}
        failures: dict[str, str] = {}
        for one in servers.implementations:
            try:
                started[one.name] = stack.enter_context(
                    _server(servers, servers.testbed.server, one, one.name, cell.server_cpus, flags)
                )
            except ServerFailed as failure:
                failures[one.name] = str(failure)
        contestants = []
        for name, server in started.items():
            try:
                contestants.append(_contestant(server, name, len(cell.server_cpus)))
            except ServerFailed as failure:
                failures[name] = str(failure)
        yield Block(contestants, failures, backend)


@contextmanager
def _server(
    servers: Servers, host: Host, implementation: Implementation, name: str, cpus: Sequence[int], flags: Sequence[str]
) -> Iterator[Server]:
    """Start a server on a host. Raises ServerFailed when that is not possible."""
    placed = ["-w", str(len(cpus)), "-c", str(cpus[0]), *flags]
    with ExitStack() as stack:
        try:
            address = stack.enter_context(host.reserve())
        except OSError as error:
            raise ServerFailed(f"{name} cannot be started: {error.strerror}") from error
        server = Server(implementation, placed, [address], servers.folder, name, host=host, cpus=cpus)
        yield stack.enter_context(server)


def _contestant(server: Server, name: str, workers: int) -> Contestant:
    """Wait until a server answers. Raises ServerFailed."""
    server.wait_ready()
    target, reply = ports.split(server.listen[0]), server.sample_reply()
    return Contestant(name, target, reply, server.process_pids(), AcceptedConnections(server.stderr_path, workers))


def own_rate_rps(load: LoadSide, backend: Contestant, slice_s: float) -> int:
    """Measure what the backend does by itself, with the generators and the connections of the cell; 0 where nothing."""
    for _warm_up_first in range(2):
        trial, _ = load.measure(backend, Turn(slice_s=slice_s))
    return round(rate_rps(trial))
