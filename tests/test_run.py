"""Real servers under real load: every implementation can be measured, and what breaks costs its own figures only."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from harness import plan, processes, results
from harness.analysis import verdicts
from harness.analysis.comparison import compare
from harness.measure import BackendEnded
from harness.registry import Implementation, find
from harness.results import RunFolder, StoredRun
from harness.run import GIVEN_UP_AFTER_SLICES, Run
from harness.schema import SERVER_ENDED, Cell, PlannedImplementation, Slice, Summary, Workload
from harness.testbed.loopback import place

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

    def cell_begins(self, cell: Cell, rounds: int, slice_s: float, implementations: int) -> None:
        """Let it begin."""

    def failed(self, what: str) -> None:
        """Keep it for the test."""
        self.failures.append(what)


def measure(
    directory: Path,
    implementations: list[Implementation],
    workloads: tuple[Workload, ...],
    on_slice: Callable[[Slice], None] = lambda _: None,
) -> StoredRun:
    """Measure a few rounds, and read what the run's folder has."""
    cells = [place(cell, sorted(os.sched_getaffinity(0))) for cell in plan.expand(workloads, [1], [20])]
    planned = plan.make(
        [PlannedImplementation(name=one.name, argv=one.argv, conformant=True) for one in implementations],
        cells,
        reference=implementations[0].name,
        budget_s=len(cells) * len(implementations) * ROUNDS * SLICE_S,
        slice_s=SLICE_S,
        seed=8,
    )
    watch = Watch(on_slice)
    with RunFolder.create(directory, planned) as folder, suppress(KeyboardInterrupt):
        Run(planned, {one.name: one for one in implementations}, REFERENCE, folder, watch).measure()
    return results.load(folder.path)


def sum_up(stored: StoredRun) -> Summary:
    return compare(stored.plan, stored.slices, stored.histograms)


def test_every_implementation_is_measured_under_every_workload(impl: Implementation, tmp_path: Path) -> None:
    stored = measure(tmp_path, [impl], ("short", "keepalive", "proxy"))
    summary = sum_up(stored)
    assert [cell.workload for cell in summary.cells] == ["short", "keepalive", "proxy"]
    for cell in summary.cells:
        assert cell.errors == 0
        assert cell.verdict not in {verdicts.FAILED, verdicts.NOT_CONFORMANT}, cell.evidence
        recorded = stored.histograms[cell.cell.key, impl.name].total
        assert 0 < recorded < cell.requests, "all requests but those of the ramps are in the histogram"
    assert len(stored.slices) == 3 * ROUNDS
    assert all(piece.server_cpu_ns for piece in stored.slices if piece.requests)
    assert all(bool(piece.backend_cpu_ns) == piece.cell.startswith("proxy") for piece in stored.slices)
    assert stored.notes == ()


def test_each_round_has_a_slice_of_each_in_an_order_that_the_seed_repeats(tmp_path: Path) -> None:
    runs = [measure(tmp_path, [REFERENCE, TWIN], ("short",)) for _ in range(2)]
    orders = [[(piece.round, piece.position, piece.impl) for piece in stored.slices] for stored in runs]
    assert orders[0] == orders[1]
    assert [(number, position) for number, position, _ in orders[0]] == [(n, p) for n in range(ROUNDS) for p in (0, 1)]
    assert {impl for _, _, impl in orders[0][::2]} == {"epoll_raw", "twin"}, "neither always comes first"


def test_a_server_that_is_killed_costs_its_own_figures_only(tmp_path: Path) -> None:
    def kill_twin(measured: Slice) -> None:
        if (measured.impl, measured.round) == ("twin", 1):
            [parent] = servers_of(tmp_path)
            os.kill(parent, signal.SIGKILL)

    stored = measure(tmp_path, [REFERENCE, TWIN], ("short", "keepalive"), kill_twin)
    assert [SERVER_ENDED in piece.errors for piece in stored.slices if piece.impl == "twin"].count(True) == 2
    verdict_of = {(cell.impl, cell.workload): cell.verdict for cell in sum_up(stored).cells}
    assert verdict_of["twin", "short"] == verdict_of["twin", "keepalive"] == verdicts.FAILED
    assert verdict_of["epoll_raw", "short"] != verdicts.FAILED
    assert len([piece for piece in stored.slices if piece.impl == "epoll_raw"]) == 2 * ROUNDS


def servers_of(directory: Path, name: str = "twin") -> list[int]:
    """Find the process of a server that was started here, by the log file on its command line."""
    return [
        pid
        for pid in processes.children(os.getpid())
        if f"{directory}" in (line := Path(f"/proc/{pid}/cmdline").read_text()) and f"{name}.log" in line
    ]


def test_what_was_measured_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    def interrupt(measured: Slice) -> None:
        if measured.round == 3:
            raise KeyboardInterrupt

    stored = measure(tmp_path, [REFERENCE], ("short", "keepalive"), interrupt)
    assert [piece.round for piece in stored.slices] == [0, 1, 2, 3]
    assert stored.histograms["short/w1/c20", "epoll_raw"].total > 0


def test_a_server_that_does_not_start_costs_its_own_figures_only(tmp_path: Path) -> None:
    [broken] = find("none", ["broken=false"])
    stored = measure(tmp_path, [REFERENCE, broken], ("short", "keepalive"))
    cells = {(cell.impl, cell.workload): cell for cell in sum_up(stored).cells}
    for workload in ("short", "keepalive"):
        assert cells["broken", workload].verdict == verdicts.FAILED
        assert cells["broken", workload].evidence == "0 correct replies and 1 error: 1 server did not start"
        assert cells["epoll_raw", workload].requests > 0


def test_a_server_that_stops_answering_gets_no_more_slices(tmp_path: Path) -> None:
    def suspend_twin(measured: Slice) -> None:
        if (measured.impl, measured.round) == ("twin", 0):
            [parent] = servers_of(tmp_path)
            [worker] = processes.children(parent)
            os.kill(worker, signal.SIGSTOP)

    stored = measure(tmp_path, [REFERENCE, TWIN], ("short",), suspend_twin)
    slices = [piece for piece in stored.slices if piece.impl == "twin"]
    assert [bool(piece.requests) for piece in slices] == [True, *[False] * GIVEN_UP_AFTER_SLICES]
    assert {cell.impl: cell.verdict for cell in sum_up(stored).cells}["twin"] == verdicts.FAILED


def test_without_its_backend_a_proxy_is_not_blamed(tmp_path: Path) -> None:
    def kill_backend(measured: Slice) -> None:
        if measured.round == 1:
            [parent] = servers_of(tmp_path, "backend")
            os.kill(parent, signal.SIGKILL)

    with pytest.raises(BackendEnded, match="the backend's processes have ended"):
        measure(tmp_path, [REFERENCE], ("proxy",), kill_backend)
