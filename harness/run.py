"""The one stateful loop: servers up, load in slices, everything down again.

All servers of a cell run at once, idle ones cost nothing, and the load moves between them in slices of some
tens of milliseconds, in a new random order each round. So whatever speeds the machine up or slows it down meets
all of them alike (DESIGN.md, "Why slices").
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from harness import plan, ports
from harness.analysis.latency import LatencyHistogram
from harness.loadgen import Generator
from harness.measure import Contestant, LoadSide, not_started
from harness.registry import Implementation
from harness.results import RunFolder
from harness.schema import SERVER_ENDED, Cell, Plan, PlannedCell, Slice
from harness.servers import Server, ServerFailed
from harness.testbed.loopback import HOST

REQUESTS_PER_SLICE = 400
"""A slice is made long enough for about so many replies of the slowest server, and for REPLIES_PER_CONNECTION."""
REPLIES_PER_CONNECTION = 8
"""A server that answers all its connections in one bunch needs several bunches after the ramp to have a rate."""
LONGEST_SLICE_S = 1.0
TRIAL_S = 0.1
"""The slice before the first round, which tells how fast a server is and is thrown away."""
GIVEN_UP_AFTER_SLICES = 3
"""So many slices without a correct reply, each with its wait for late ones, and a server gets no more in the cell."""


class Progress(Protocol):
    """What a run tells while it goes on."""

    def cell_begins(self, cell: Cell, rounds: int, slice_s: float, implementations: int) -> None:
        """Tell that a cell begins."""

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""

    def failed(self, what: str) -> None:
        """Tell that a server did not start."""


class Run:
    """Measures the cells of a plan into a run folder."""

    def __init__(
        self,
        planned: Plan,
        implementations: Mapping[str, Implementation],
        backend: Implementation,
        folder: RunFolder,
        progress: Progress,
    ) -> None:
        self._plan = planned
        self._implementations = [implementations[one.name] for one in planned.conformant]
        self._backend = backend
        self._folder = folder
        self._progress = progress

    def measure(self) -> None:
        """Measure every cell, where any implementation may be. What was measured before an exception is in the folder.

        Raises ServerFailed when the backend does not start, BackendEnded and GeneratorFailed.
        """
        for cell in self._plan.cells if self._implementations else ():
            self._measure_cell(cell)

    def _measure_cell(self, cell: PlannedCell) -> None:
        with ExitStack() as stack:
            backend = stack.enter_context(self._backend_server(cell))
            contestants = list(self._started(stack, cell, backend))
            generators = [stack.enter_context(Generator(cpu)) for cpu in cell.generator_cpus]
            load = LoadSide(cell, generators, backend.process_pids() if backend else [])
            slice_s = self._fitting_slice_s(load, contestants)
            rounds = plan.rounds(self._plan.budget_s, len(self._plan.cells), len(contestants), slice_s)
            self._progress.cell_begins(cell, rounds, slice_s, len(contestants))
            order = random.Random(f"{self._plan.seed} {cell.key}")
            silent = Counter[str]()
            for number in range(rounds):
                for position, contestant in enumerate(order.sample(contestants, len(contestants))):
                    measured = self._measure_slice(load, contestant, slice_s, number, position)
                    silent[contestant.name] = 0 if measured.requests else silent[contestant.name] + 1
                    if SERVER_ENDED in measured.errors or silent[contestant.name] == GIVEN_UP_AFTER_SLICES:
                        contestants.remove(contestant)

    def _started(self, stack: ExitStack, cell: PlannedCell, backend: Server | None) -> Iterator[Contestant]:
        """Start the servers; one that does not start costs its own figures in this cell, and a slice that says so."""
        for implementation in self._implementations:
            try:
                yield stack.enter_context(self._contestant(implementation, cell, backend))
            except ServerFailed as failure:
                self._progress.failed(str(failure))
                self._folder.append_slice(not_started(cell, implementation.name, self._plan.slice_s))

    def _measure_slice(
        self, load: LoadSide, contestant: Contestant, slice_s: float, number: int, position: int
    ) -> Slice:
        measured, latencies = load.measure(contestant, slice_s, number, position)
        self._folder.append_slice(measured)
        histogram = LatencyHistogram()
        histogram.record(latencies)
        self._folder.append_histograms({(measured.cell, measured.impl): histogram})
        self._progress.slice_ends(measured)
        return measured

    def _fitting_slice_s(self, load: LoadSide, contestants: Sequence[Contestant]) -> float:
        """Choose a length that gives the slowest server requests enough, the same for all.

        In short slices of a slow server ramp and drain would be most of it (DESIGN.md, "Why slices").
        """
        wanted = max(REQUESTS_PER_SLICE, REPLIES_PER_CONNECTION * load.cell.concurrency)
        length_s = self._plan.slice_s
        for contestant in contestants:
            trial, _ = load.measure(contestant, max(TRIAL_S, self._plan.slice_s), 0, 0)
            if trial.requests:
                length_s = max(length_s, wanted * trial.wall_ns / 1e9 / trial.requests)
        return round(min(length_s, max(LONGEST_SLICE_S, self._plan.slice_s)), 3)

    @contextmanager
    def _backend_server(self, cell: PlannedCell) -> Iterator[Server | None]:
        if not cell.backend_cpus:
            yield None
            return
        with self._server(self._backend, "backend", cell.backend_cpus, []) as server:
            yield server

    @contextmanager
    def _contestant(
        self, implementation: Implementation, cell: PlannedCell, backend: Server | None
    ) -> Iterator[Contestant]:
        flags = ["-k"] if cell.workload == "keepalive" else []
        if backend:
            flags += ["-x", backend.listen[0]]
        with self._server(implementation, implementation.name, cell.server_cpus, flags) as server:
            target = ports.split(server.listen[0])
            yield Contestant(implementation.name, target, server.sample_reply(), server.process_pids())

    @contextmanager
    def _server(
        self, implementation: Implementation, name: str, cpus: Sequence[int], flags: Sequence[str]
    ) -> Iterator[Server]:
        placed = ["-w", str(len(cpus)), "-c", str(cpus[0]), *flags]
        folder: Path = self._folder.path / "servers"
        with ExitStack() as stack:
            try:
                address = stack.enter_context(ports.reserve(HOST))
            except OSError as error:
                raise ServerFailed(f"{name} cannot be started: {error.strerror}") from error
            server = stack.enter_context(Server(implementation, placed, [address], folder, name))
            server.wait_ready()
            yield server
