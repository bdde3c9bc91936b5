"""A short run of one cell with planted servers, judged as any run is."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import plan, results
from harness.analysis.comparison import compare
from harness.group_run import StartClients
from harness.leftovers import temporary_folder
from harness.loadgen import clients
from harness.registry import ROOT, Implementation, find
from harness.results import RunFolder
from harness.run import Run
from harness.schema import Cell, CellSummary, Plan, PlannedCell, PlannedImplementation, Schedule, Slice
from harness.servers import ServerFailed
from harness.testbed import Testbed

TAMPERED = Path(__file__).with_name("tampered.py")
[PLAIN] = find("epoll_raw")


def tampered(name: str, plant: str, value: float) -> Implementation:
    """Make the reference implementation with a planted fault."""
    argv = (sys.executable, str(TAMPERED), plant, f"{value:g}", "impls.epoll_raw")
    return Implementation(name, argv, ROOT, external=True)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run; the first of the implementations is the reference."""

    implementations: Sequence[Implementation]
    cell: PlannedCell
    testbed: Testbed
    budget_s: float
    seed: int
    blocks: int = 1
    slice_s: float = 0.05
    backend: Implementation = PLAIN
    start_clients: StartClients = clients.start

    def run(self) -> "Measured":
        """Measure and judge. Raises ServerFailed, GeneratorFailed and BackendEnded."""
        names = [one.name for one in self.implementations]
        planned = plan.make(
            [PlannedImplementation(name=one.name, argv=one.argv, conformant=True) for one in self.implementations],
            [self.cell],
            reference=names[0],
            budget_s=self.budget_s,
            slice_s=self.slice_s,
            seed=self.seed,
            testbed=self.testbed.name,
            blocks=self.blocks,
            conformance_checked=True,
        )
        watch = _Stopwatch()
        with temporary_folder("selftest") as directory:
            with RunFolder.create(directory, planned) as folder:
                by_name = {one.name: one for one in self.implementations}
                Run(
                    planned, by_name, self.backend, self.testbed, folder, watch, start_clients=self.start_clients
                ).measure()
            stored = results.load(folder.path)
        if watch.failures:
            raise ServerFailed(watch.failures[0])
        summary = compare(stored.plan, stored.slices, stored.histograms)
        return Measured(
            plan=stored.plan,
            slices=stored.slices,
            cells={one.impl: one for one in summary.cells},
            elapsed_s=watch.elapsed_s,
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of an experiment."""

    plan: Plan
    slices: Sequence[Slice]
    cells: Mapping[str, CellSummary]
    """By implementation."""
    elapsed_s: Mapping[int, float]
    """By round: how long after the start of the run its last slice had ended, servers' starts and all."""


@dataclass
class _Stopwatch:
    """Notes when rounds end."""

    started_s: float = field(default_factory=time.monotonic)
    elapsed_s: dict[int, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def group_begins(self, cells: Sequence[Cell], schedule: Schedule) -> None:
        """Let it begin."""

    def slice_ends(self, measured: Slice) -> None:
        """Note when; the last of a round counts."""
        self.elapsed_s[measured.round] = time.monotonic() - self.started_s

    def failed(self, what: str) -> None:
        """Keep what a server that does not start says."""
        self.failures.append(what)
