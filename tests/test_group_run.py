"""Cells that are measured together: their slices are interleaved, and what breaks in one costs the others nothing."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import group_run, results
from harness.analysis import verdicts
from harness.results import StoredRun
from harness.schema import SERVER_ENDED, PlannedCell, Slice
from harness.testbed.loopback import Loopback
from tests.runs import REFERENCE, ROUNDS, TWIN, go_on, ignore, measure, servers_of, sum_up

pytestmark = pytest.mark.usefixtures("drops_do_not_count")
MANY, FEW = "short/w1/c20", "short/w1/c10"
TURNS = [(cell, name) for cell in (MANY, FEW) for name in ("epoll_raw", "twin")]
Rounds = list[list[tuple[str, str]]]


def measure_group(directory: Path, on_slice: Callable[[Slice], None]) -> StoredRun:
    implementations = [REFERENCE, TWIN]
    return measure(
        directory,
        implementations,
        ("short",),
        on_slice,
        concurrencies=[20, 10],
        interleaved=True,
        slice_s=0.02,
        blocks=1,
        budget_s=len(TURNS) * ROUNDS * 0.02,
    )


def rounds_of(stored: StoredRun) -> Rounds:
    """Return the turns of each round in the order in which they were measured."""
    return [[(piece.cell, piece.impl) for piece in stored.slices if piece.round == number] for number in range(ROUNDS)]


def test_a_round_has_a_slice_of_each_server_in_each_cell_and_what_breaks_in_one_costs_that_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered: list[str] = []

    def note(_: Loopback, cell: PlannedCell) -> None:
        steered.append(cell.key)

    def interrupt(measured: Slice) -> None:
        assert steered[-1] == measured.cell
        if (measured.round, measured.position) == (4, 1):
            raise KeyboardInterrupt

    def kill_one(measured: Slice) -> None:
        if (measured.cell, measured.impl, measured.round) == (FEW, "twin", 1):
            [parent] = servers_of(tmp_path / "other", "short-w1-c10/block-0/twin")
            os.kill(parent, signal.SIGKILL)

    monkeypatch.setattr(Loopback, "steer", note)
    monkeypatch.setattr(group_run, "REQUESTS_PER_SLICE", 20)  # nobody asks how fast they are
    monkeypatch.setattr(group_run, "REPLIES_PER_CONNECTION", 1)
    first = measure_group(tmp_path, interrupt)
    assert len(first.slices) == 4 * len(TURNS) + 2
    whole = go_on(results.load(first.path), [REFERENCE, TWIN], ignore)
    assert whole.slices[: len(first.slices)] == first.slices
    for turns in rounds_of(whole):
        assert sorted(turns) == sorted(TURNS), "each has had one turn, and nobody two"
    assert len({tuple(turns) for turns in rounds_of(whole)}) > 1, "each round has an order of its own"
    assert {piece.phase for piece in whole.slices} == {"load"}
    assert len({piece.slice_s for piece in whole.slices}) == 1
    assert {cell.schedule for cell in whole.plan.cells} == {whole.plan.cells[0].schedule}

    broken = measure_group(tmp_path / "other", kill_one)
    assert [SERVER_ENDED in piece.errors for piece in broken.slices].count(True) == 1
    verdict_of = {(cell.cell.key, cell.impl): cell.verdict for cell in sum_up(broken).cells}
    assert verdict_of[FEW, "twin"] == verdicts.FAILED
    for number, (turns, others) in enumerate(zip(rounds_of(whole), rounds_of(broken), strict=True)):
        left = turns if number < 3 else [turn for turn in turns if turn != (FEW, "twin")]
        assert others == left, "the seed repeats the order, and the others keep their turns"
