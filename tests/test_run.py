"""Real servers under real load: every implementation can be measured, and what breaks costs its own figures only."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import group_run, plan, processes, results
from harness.analysis import comparison, verdicts
from harness.analysis.latency import WHOLE
from harness.group_run import GIVEN_UP_AFTER_SLICES
from harness.idle import IdleConnections
from harness.registry import Implementation, find
from harness.schema import SERVER_ENDED, Plan, PlannedCell, Slice
from harness.snapshot import BackendEnded
from tests.runs import REFERENCE, ROUNDS, TWIN, go_on, ignore, measure, servers_of, sum_up, under_load

pytestmark = pytest.mark.usefixtures("drops_do_not_count")


def test_every_implementation_is_measured_under_every_workload(impl: Implementation, tmp_path: Path) -> None:
    stored = measure(tmp_path, [impl], ("short", "keepalive", "proxy"))
    summary = sum_up(stored)
    assert [cell.workload for cell in summary.cells] == ["short", "keepalive", "proxy"]
    for cell in summary.cells:
        assert cell.errors == 0
        assert cell.verdict not in {verdicts.FAILED, verdicts.NOT_CONFORMANT}, cell.evidence
        recorded = stored.histograms[cell.cell.key, impl.name, WHOLE].total
        assert 0 < recorded < cell.requests, "all requests but those of the ramps are in the histogram"
    assert len(under_load(stored)) == 3 * ROUNDS
    assert len(stored.slices) == 3 * ROUNDS * 3 // 2, "every second round is measured at a fixed rate, too"
    assert all(piece.server_cpu_ns for piece in stored.slices if piece.requests)
    assert all(bool(piece.backend_cpu_ns) == piece.cell.startswith("proxy") for piece in stored.slices)
    assert stored.notes == ()


def test_each_round_has_a_slice_of_each_in_an_order_that_the_seed_repeats(tmp_path: Path) -> None:
    runs = [measure(tmp_path, [REFERENCE, TWIN], ("short",)) for _ in range(2)]
    orders = [[(piece.round, piece.position, piece.impl) for piece in under_load(stored)] for stored in runs]
    assert orders[0] == orders[1]
    assert [(number, position) for number, position, _ in orders[0]] == [(n, p) for n in range(ROUNDS) for p in (0, 1)]
    assert {impl for _, _, impl in orders[0][::2]} == {"epoll_raw", "twin"}, "neither always comes first"


def test_what_is_left_of_a_run_is_measured_and_nothing_twice(tmp_path: Path) -> None:
    def interrupt(measured: Slice) -> None:
        if (measured.cell, measured.round, measured.position) == ("keepalive/w1/c20", 2, 0):
            raise KeyboardInterrupt

    first = measure(tmp_path, [REFERENCE, TWIN], ("short", "keepalive"), interrupt, blocks=2)
    with (first.path / results.SLICES).open("ab") as file:
        file.write(b'{"cell":"keepalive/w1/c20","im')  # what a kill -9 leaves of a line
    second = go_on(results.load(first.path), [REFERENCE, TWIN], ignore)
    assert second.slices[: len(first.slices)] == first.slices
    turns = [(piece.cell, piece.impl, piece.round, piece.phase) for piece in second.slices]
    assert len(turns) == len(set(turns)) == 2 * 2 * ROUNDS * 3 // 2
    [cell] = [one for one in second.plan.cells if one.key == "keepalive/w1/c20"]
    assert cell.schedule is not None
    assert {piece.slice_s for piece in second.slices if piece.cell == cell.key} == {cell.schedule.slice_s}
    assert second.notes == ()
    third = go_on(second, [REFERENCE, TWIN], ignore)
    assert third.slices == second.slices, "nothing is left to be measured"


def test_servers_are_started_afresh_in_blocks(tmp_path: Path) -> None:
    pids: dict[int, set[int]] = {}

    def note_parent(measured: Slice) -> None:
        pids.setdefault(measured.block, set()).update(servers_of(tmp_path, "epoll_raw"))

    stored = measure(tmp_path, [REFERENCE], ("short",), note_parent, blocks=3)
    assert [piece.block for piece in under_load(stored)] == [0, 0, 1, 1, 2, 2]
    assert [len(found) for found in pids.values()] == [1, 1, 1]
    assert len(set.union(*pids.values())) == 3


def test_a_run_ends_when_it_is_precise_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_within(planned: Plan, cell: PlannedCell, slices: Sequence[Slice], share: float) -> bool:
        """Find it so at the first look, as slices this short may not be on a busy machine."""
        looked_at.append((cell.key, len({piece.block for piece in slices}), share))
        is_precise.append(comparison.is_within(planned, cell, slices, share))
        return True

    def give_up(measured: Slice) -> None:
        """Let a run that does not end early end here, and not in the minutes that its budget is enough for."""
        if measured.block == plan.FIRST_LOOK_BLOCKS:
            raise KeyboardInterrupt

    looked_at: list[tuple[str, int, float]] = []
    is_precise: list[bool] = []
    monkeypatch.setattr(group_run, "is_within", is_within)
    monkeypatch.setattr(plan, "FIRST_LOOK_BLOCKS", 3)
    monkeypatch.setattr(plan, "ROUNDS_PER_BLOCK", 4)
    # Enough for a block more, with slices as long as they can get.
    stored = measure(tmp_path, [REFERENCE, TWIN], ("short",), give_up, precision=0.9, slice_s=0.02, budget_s=50.0)
    rounds = 1 + max(piece.round for piece in under_load(stored))
    [cell] = stored.plan.cells
    assert cell.schedule is not None
    assert cell.schedule.block_of(rounds - 1) + 1 == plan.FIRST_LOOK_BLOCKS
    assert looked_at == [(cell.key, plan.FIRST_LOOK_BLOCKS, 0.9)]
    assert is_precise == [sum_up(stored).precision_missed == ()]


def test_cpu_per_request_is_compared_at_one_rate_that_all_can_serve(tmp_path: Path) -> None:
    stored = measure(tmp_path, [REFERENCE, TWIN], ("short",))
    fixed = [piece for piece in stored.slices if piece.phase == "fixed-rate"]
    [rate_rps] = {piece.rate_rps for piece in fixed}
    assert rate_rps is not None
    twin = next(cell for cell in sum_up(stored).cells if cell.impl == "twin")
    assert twin.at_fixed_rate.rate_rps == rate_rps
    assert twin.at_fixed_rate.cpu_us_per_request.value is not None
    assert sum(piece.requests for piece in fixed) > 0


def test_idle_connections_are_compared_with_none_in_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = iter([1])
    monkeypatch.setattr(IdleConnections, "lost", lambda _: next(lost, 0))
    stored = measure(tmp_path, [REFERENCE], ("keepalive",), idle=200)
    for phase in ("load", "without-idle"):
        assert [piece.round for piece in stored.slices if piece.phase == phase] == list(range(ROUNDS))
    assert [piece.phase for piece in stored.slices if piece.idle_rss_bytes].count("without-idle") == 0
    assert {piece.rate_rps for piece in stored.slices if piece.phase == "without-idle"} == {None}
    assert stored.slices[0].errors == {"idle connection lost": 1}
    [cell] = sum_up(stored).cells
    assert cell.cell.key == "keepalive/w1/c20/idle200"
    assert cell.errors == 1
    assert cell.with_idle.rss_bytes is not None
    assert cell.with_idle.cpu_ratio.value is not None
    assert stored.histograms[cell.cell.key, "epoll_raw", WHOLE].total < cell.requests


def test_everything_is_observed_for_every_slice(tmp_path: Path) -> None:
    stored = measure(tmp_path, [REFERENCE], ("keepalive",))
    for piece in stored.slices:
        assert {use.cpu for use in piece.cpus} == {
            *stored.plan.cells[0].server_cpus,
            *stored.plan.cells[0].generator_cpus,
        }
        assert all(0 < use.busy_ns <= use.span_ns for use in piece.cpus)
        assert piece.context_switches is not None
        assert piece.context_switches.voluntary + piece.context_switches.involuntary > 0
        assert piece.tcp is not None
        assert piece.tcp.segments_in >= piece.requests, "a request is a segment, and so is its reply"
        assert piece.rss_bytes > 1_000_000


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
    assert len(under_load(stored, "epoll_raw")) >= 2 * ROUNDS


def test_what_was_measured_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    def interrupt(measured: Slice) -> None:
        if measured.round == 3:
            raise KeyboardInterrupt

    stored = measure(tmp_path, [REFERENCE], ("short", "keepalive"), interrupt)
    assert [piece.round for piece in under_load(stored)] == [0, 1, 2, 3]
    assert stored.histograms["short/w1/c20", "epoll_raw", WHOLE].total > 0


def test_a_server_that_does_not_start_costs_its_own_figures_only(tmp_path: Path) -> None:
    [broken] = find("none", ["broken=false"])
    stored = measure(tmp_path, [REFERENCE, broken], ("short", "keepalive"))
    cells = {(cell.impl, cell.workload): cell for cell in sum_up(stored).cells}
    for workload in ("short", "keepalive"):
        assert cells["broken", workload].verdict == verdicts.FAILED
        assert cells["broken", workload].evidence == (
            "0 correct replies and 1 error: 1 server did not start; "
            "it ended before it answered: nothing on standard error"
        )
        assert cells["epoll_raw", workload].requests > 0


def test_a_server_that_stops_answering_gets_no_more_slices(tmp_path: Path) -> None:
    def suspend_twin(measured: Slice) -> None:
        if (measured.impl, measured.round, measured.phase) == ("twin", 0, "fixed-rate"):
            [parent] = servers_of(tmp_path)
            [worker] = processes.children(parent)
            os.kill(worker, signal.SIGSTOP)

    stored = measure(tmp_path, [REFERENCE, TWIN], ("short",), suspend_twin)
    slices = [piece for piece in stored.slices if piece.impl == "twin" and piece.round]
    assert [bool(piece.requests) for piece in slices] == [False] * GIVEN_UP_AFTER_SLICES
    assert {cell.impl: cell.verdict for cell in sum_up(stored).cells}["twin"] == verdicts.FAILED


def test_one_that_answers_only_without_idle_connections_gets_no_more_slices(tmp_path: Path) -> None:
    def suspend_twin(measured: Slice) -> None:
        if measured.impl == "twin" and not measured.round:
            for parent in servers_of(tmp_path):
                [worker] = processes.children(parent)
                os.kill(worker, signal.SIGSTOP)

    stored = measure(tmp_path, [REFERENCE, TWIN], ("short",), suspend_twin, idle=5)
    slices = [piece for piece in under_load(stored, "twin") if not piece.requests]
    assert len(slices) == GIVEN_UP_AFTER_SLICES
    assert any(piece.requests for piece in stored.slices if piece.phase == "without-idle" and piece.round > 1)


def test_without_its_backend_a_proxy_is_not_blamed(tmp_path: Path) -> None:
    def kill_backend(measured: Slice) -> None:
        if measured.round == 1:
            [parent] = servers_of(tmp_path, "backend")
            os.kill(parent, signal.SIGKILL)

    with pytest.raises(BackendEnded, match=r"the backend has ended, .* \(it was ended by SIGKILL; "):
        measure(tmp_path, [REFERENCE], ("proxy",), kill_backend)
