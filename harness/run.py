"""The one stateful loop: servers up, load in slices, everything down again.

All servers of a cell run at once, idle ones cost nothing, and the load moves between them in slices of some
tens of milliseconds, in a new random order each round. So whatever speeds the machine up or slows it down meets
all of them alike (DESIGN.md, "Why slices").
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from harness import plan, ports
from harness.analysis.latency import LatencyHistogram
from harness.loadgen import Generator
from harness.measure import Contestant, LoadSide
from harness.registry import Implementation
from harness.results import RunFolder
from harness.schema import SERVER_ENDED, Cell, Plan, PlannedCell, Slice
from harness.servers import Server
from harness.testbed.loopback import HOST

REQUESTS_PER_SLICE = 400
"""A slice is made long enough for about so many replies of the slowest server, and for REPLIES_PER_CONNECTION."""
REPLIES_PER_CONNECTION = 8
"""A server that answers all its connections in one bunch needs several bunches after the ramp to have a rate."""
LONGEST_SLICE_S = 1.0
TRIAL_S = 0.1
"""The slice before the first round, which tells how fast a server is and is thrown away."""
SAVE_EVERY_ROUNDS = 20
"""How often histograms go to the disk."""


class Progress(Protocol):
    """What a run tells while it goes on."""

    def cell_begins(self, cell: Cell, rounds: int, slice_s: float, implementations: int) -> None:
        """Tell that a cell begins."""

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""


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
        self._random = random.Random(planned.seed)
        self._histograms: dict[tuple[str, str], LatencyHistogram] = {}

    def measure(self) -> None:
        """Measure every cell, where any implementation may be. What was measured before an exception is in the folder.

        Raises ServerFailed when a server does not start.
        """
        try:
            for cell in self._plan.cells if self._implementations else ():
                self._measure_cell(cell)
        finally:
            self._save_histograms()

    def _measure_cell(self, cell: PlannedCell) -> None:
        with ExitStack() as stack:
            backend = stack.enter_context(self._backend_server(cell))
            contestants = [
                stack.enter_context(self._contestant(implementation, cell, backend))
                for implementation in self._implementations
            ]
            generators = [stack.enter_context(Generator(cpu)) for cpu in cell.generator_cpus]
            load = LoadSide(cell, generators, backend.process_pids() if backend else [])
            slice_s = self._fitting_slice_s(load, contestants)
            rounds = plan.rounds(self._plan.budget_s, len(self._plan.cells), len(contestants), slice_s)
            self._progress.cell_begins(cell, rounds, slice_s, len(contestants))
            for number in range(rounds):
                self._measure_round(load, contestants, slice_s, number)

    def _measure_round(self, load: LoadSide, contestants: list[Contestant], slice_s: float, number: int) -> None:
        for position, contestant in enumerate(self._random.sample(contestants, len(contestants))):
            measured, latencies = load.measure(contestant, slice_s, number, position)
            self._folder.append_slice(measured)
            key = (measured.cell, measured.impl)
            self._histograms.setdefault(key, LatencyHistogram()).record(latencies)
            self._progress.slice_ends(measured)
            if SERVER_ENDED in measured.errors:
                contestants.remove(contestant)
        if number % SAVE_EVERY_ROUNDS == SAVE_EVERY_ROUNDS - 1:
            self._save_histograms()

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
            host, _, port = server.listen[0].rpartition(":")
            yield Contestant(implementation.name, (host, int(port)), server.sample_reply(), server.process_pids())

    @contextmanager
    def _server(
        self, implementation: Implementation, name: str, cpus: Sequence[int], flags: Sequence[str]
    ) -> Iterator[Server]:
        placed = ["-w", str(len(cpus)), "-c", str(cpus[0]), *flags]
        folder: Path = self._folder.path / "servers"
        with ports.reserve(HOST) as address, Server(implementation, placed, [address], folder, name) as server:
            server.wait_ready()
            yield server

    def _save_histograms(self) -> None:
        self._folder.append_histograms(self._histograms)
        self._histograms.clear()
