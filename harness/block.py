"""A block: fresh processes of every server in a cell, and of the backend, that answer some rounds and end."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness import idle, lineage, ports
from harness.measure import Contestant, LoadSide, Turn, rate_rps
from harness.registry import Implementation
from harness.schema import Phase, PlannedCell
from harness.servers import START_TIMEOUT_S, Server, ServerFailed
from harness.testbed import Host, Testbed
from harness.worker_statistics import WorkerStatistics

BACKEND = "backend"
_NEVER_S = "86400"
_USUAL_CONNECTIONS, _SPARE_CONNECTIONS = 65_536, 1_000
"""What the contract gives a worker where nothing else is asked for; room for connections that are ending."""


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
    without_idle: list[Contestant]
    """Other processes of the same servers, by the same names, that hold no idle connections; none in a cell without."""
    failures: dict[str, ServerFailed]
    """Why others did not start, by name."""
    backend: Contestant | None

    def find(self, name: str, phase: Phase) -> Contestant | None:
        """Return the server of a name that is loaded in a phase; None where it did not start, or was left out."""
        several = self.without_idle if phase == "without-idle" else self.contestants
        return next((one for one in several if one.name == name), None)

    def only(self) -> Contestant:
        """Return the server of a block that has one. Raises ServerFailed when it did not start."""
        for failure in self.failures.values():
            raise failure
        [contestant] = self.contestants
        return contestant

    def leave_out(self, name: str) -> None:
        """Let a server take part no more."""
        for several in (self.contestants, self.without_idle):
            several[:] = [one for one in several if one.name != name]


@contextmanager
def start(servers: Servers, cell: PlannedCell) -> Iterator[Block]:
    """Start the servers of a cell, all at once, and wait until each answers and holds its idle connections.

    Raises ServerFailed for the backend, and as ``_hold_idle``.
    """
    with ExitStack() as stack:
        stack.callback(lineage.end_strays)
        backend = None
        flags = ["-v", *(["-k"] if cell.workload == "keepalive" else []), *_limits(cell)]
        if cell.backend_cpus:
            host = servers.testbed.backend
            server = stack.enter_context(_server(servers, host, servers.backend, BACKEND, cell.backend_cpus, ["-v"]))
            backend = _contestant(server, BACKEND, len(cell.backend_cpus))
            flags += ["-x", server.listen[0]]
        started: dict[str, list[Server]] = {}
        failures: dict[str, ServerFailed] = {}
        for one in servers.implementations:
            names = [one.name, *([f"{one.name}-without-idle"] if cell.idle else [])]
            try:
                started[one.name] = [
                    stack.enter_context(_server(servers, servers.testbed.server, one, name, cell.server_cpus, flags))
                    for name in names
                ]
            except ServerFailed as failure:
                failures[one.name] = failure
        block = Block([], [], failures, backend)
        for name, several in started.items():
            try:
                contestant, *without_idle = [_contestant(one, name, len(cell.server_cpus)) for one in several]
            except ServerFailed as failure:
                failures[name] = failure
            else:
                block.contestants.append(contestant)
                block.without_idle.extend(without_idle)
        if cell.idle:
            _hold_idle(stack, block, cell, servers.testbed.client)
        yield block


def _limits(cell: PlannedCell) -> list[str]:
    """Let a server hold the idle connections of a cell for a block's time, beside those under load."""
    if not cell.idle:
        return []
    connections = max(_USUAL_CONNECTIONS, cell.idle + cell.concurrency + _SPARE_CONNECTIONS)
    return ["--idle-timeout", _NEVER_S, "--max-connections", str(connections)]


def _hold_idle(stack: ExitStack, block: Block, cell: PlannedCell, client: Host) -> None:
    """Open the idle connections of a cell. Raises GeneratorFailed, and BadInput when the client cannot have them."""
    for number, one in enumerate(list(block.contestants)):
        reply = one.reply if cell.workload == "keepalive" else b""
        try:
            held = stack.enter_context(idle.hold(one, cell.idle, reply, client, cell.generator_cpus))
        except ServerFailed as failure:
            block.failures[one.name] = failure
        else:
            block.contestants[number] = replace(one, idle_rss_bytes=held.rss_bytes, lost_idle=held.lost)
    for name in block.failures:
        block.leave_out(name)


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
    server.wait_ready(START_TIMEOUT_S)
    if workers > 1:  # one may answer before the others are there, whose CPU time and memory count as well
        server.wait_forked(workers)
        server.check_preloaded()
    target, reply = ports.split(server.listen[0]), server.sample_reply()
    told = WorkerStatistics(server.stderr_path, workers)
    return Contestant(name, target, reply, server.process_pids(), server, told)


def own_rate_rps(load: LoadSide, backend: Contestant, slice_s: float) -> int:
    """Measure what the backend does by itself, with the generators and the connections of the cell; 0 where nothing."""
    for _warm_up_first in range(2):
        trial, _ = load.measure(backend, Turn(slice_s=slice_s))
    return round(rate_rps(trial))
