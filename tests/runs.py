"""Real runs without the command around them: some rounds on loopback, into a folder of the test's own."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import plan, processes, results
from harness.analysis.comparison import compare
from harness.registry import Implementation, find
from harness.results import RunFolder, StoredRun
from harness.run import Run
from harness.schema import Cell, Plan, PlannedImplementation, Schedule, Slice, Summary, Workload
from harness.testbed import open_testbed
from harness.testbed.placement import place
from tests.left_running import command_line

[REFERENCE] = find("epoll_raw")
[TWIN] = find("none", [f"twin={' '.join(REFERENCE.argv)}"])
ROUNDS = plan.FEWEST_ROUNDS
SLICE_S = 0.2
"""Other tests run on the same CPUs, so that a server may have to wait for its turn."""


class Watch:
    """Passes on each slice that a run tells of."""

    def __init__(self, on_slice: Callable[[Slice], None]) -> None:
        self.slice_ends = on_slice
        self.failures: list[str] = []

    def group_begins(self, cells: Sequence[Cell], schedule: Schedule) -> None:
        """Let it begin."""

    def failed(self, what: str) -> None:
        """Keep it for the test."""
        self.failures.append(what)


def ignore(_: Slice) -> None:
    """Let a slice pass."""


def measure(
    directory: Path,
    implementations: list[Implementation],
    workloads: tuple[Workload, ...],
    on_slice: Callable[[Slice], None] = ignore,
    *,
    concurrencies: Sequence[int] = (20,),
    idle: int = 0,
    **options: Any,
) -> StoredRun:
    """Measure a few rounds, and read what the run's folder has; options are those of ``plan.make``."""
    wanted = plan.expand(workloads, [1], concurrencies, idle=[idle])
    cells = [place(cell, sorted(os.sched_getaffinity(0))) for cell in wanted]
    shortest_s = len(cells) * len(implementations) * ROUNDS * SLICE_S * (2.5 if idle else 1.5)
    options = {"budget_s": shortest_s, "slice_s": SLICE_S, "blocks": 1, "seed": 8, **options}
    planned = plan.make(
        [PlannedImplementation(name=one.name, argv=one.argv, conformant=True) for one in implementations],
        cells,
        reference=implementations[0].name,
        conformance_checked=True,
        **options,
    )
    with RunFolder.create(directory, planned) as folder, suppress(KeyboardInterrupt):
        run(planned, implementations, folder, on_slice)
    return results.load(folder.path)


def go_on(stored: StoredRun, implementations: list[Implementation], on_slice: Callable[[Slice], None]) -> StoredRun:
    """Measure what a run has left over."""
    with RunFolder.reopen(stored) as folder, suppress(KeyboardInterrupt):
        run(stored.plan, implementations, folder, on_slice, stored.slices)
    return results.load(folder.path)


def run(
    planned: Plan,
    implementations: list[Implementation],
    folder: RunFolder,
    on_slice: Callable[[Slice], None],
    done: Sequence[Slice] = (),
) -> None:
    by_name = {one.name: one for one in implementations}
    with open_testbed("loopback", with_backend=True) as testbed:
        Run(planned, by_name, REFERENCE, testbed, folder, Watch(on_slice), done).measure()


def under_load(stored: StoredRun, name: str = "") -> list[Slice]:
    """Leave out the slices at a fixed rate, and those of others than ``name``."""
    return [piece for piece in stored.slices if piece.phase == "load" and name in {"", piece.impl}]


def sum_up(stored: StoredRun) -> Summary:
    return compare(stored.plan, stored.slices, stored.histograms)


def servers_of(directory: Path, name: str = "twin") -> list[int]:
    """Find the process of a server that was started here, by the log file on its command line."""
    return [
        pid
        for pid in processes.children(os.getpid())
        if f"{directory}" in (line := command_line(pid)) and f"{name}.log" in line
    ]
