"""A server that goes wrong costs its own figures, with the reason, and never the run."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness import block, compare, measure, output_bound, plan
from harness.analysis import verdicts
from harness.registry import ROOT, Implementation, find
from harness.results import StoredRun
from harness.schema import NOT_STARTED, SERVER_ENDED, WORKER_ENDED, CellSummary
from tests import runs
from tests.left_running import left_running

pytestmark = pytest.mark.usefixtures("drops_do_not_count")

FAULTY = Path(__file__).parent / "servers" / "faulty.py"
SLICE_S = 0.1


def faulty(fault: str) -> Implementation:
    [found] = find("none", [f"faulty={shlex.join([sys.executable, str(FAULTY), fault])}"])
    return found


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for less than the others need on a busy machine: for servers that never start."""
    monkeypatch.setattr(block, "START_TIMEOUT_S", 3.0)


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    """See that no process is left; what is, is ended."""
    yield
    remain = left_running(tmp_path)
    for pid in remain:
        os.kill(pid, signal.SIGKILL)
    assert not remain


def go_wrong(fault: str, directory: Path, budget_s: float = 1.8) -> tuple[StoredRun, CellSummary]:
    """Measure a server that goes wrong beside one that does not, and see that that one has its figures."""
    stored = runs.measure(directory, [runs.REFERENCE, faulty(fault)], ("short",), slice_s=SLICE_S, budget_s=budget_s)
    cells = {cell.impl: cell for cell in runs.sum_up(stored).cells}
    [schedule] = [cell.schedule for cell in stored.plan.cells]
    assert schedule is not None
    assert len(runs.under_load(stored, "epoll_raw")) == schedule.rounds
    assert cells["epoll_raw"].errors == 0
    assert cells["epoll_raw"].requests > 0
    return stored, cells["faulty"]


def assert_failed(cell: CellSummary, *said: str) -> None:
    assert cell.verdict == verdicts.FAILED
    for text in said:
        assert text in cell.evidence


@pytest.mark.usefixtures("_short_waits")
def test_a_server_hangs_at_its_start__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("hangs_at_start", tmp_path)
    assert_failed(cell, NOT_STARTED, "gives no correct reply after 3 s", "about to read the almanac")


def test_a_server_hangs_under_load__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("hangs", tmp_path)
    assert_failed(cell, "timeout", "its parent process is alive", "about to read the almanac")


def test_a_server_crashes_under_load__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("crashes", tmp_path)
    assert_failed(cell, SERVER_ENDED, "it ended with status 3", "out of sealing wax")


def test_a_worker_dies_and_is_replaced_under_load__the_cell_has_failed_and_tells_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_LAST_WORDS_WITHIN_S", 2.0)  # its parent may be held up before it says so
    _, cell = go_wrong("worker_dies", tmp_path)
    assert_failed(cell, WORKER_ENDED, "its parent process is alive", "worker 0 was killed by SIGKILL")


@pytest.mark.parametrize(
    ("fault", "where"), [("floods_standard_error", "to standard error"), ("fills_its_log", "into its log")]
)
def test_a_server_floods_its_standard_error_or_its_log__it_is_ended_and_the_disk_is_spared(
    fault: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_bound, "MOST_BYTES", 2**20)
    _, cell = go_wrong(fault, tmp_path, budget_s=4.0)
    assert_failed(cell, SERVER_ENDED, f"was ended because it wrote more than 1 MiB {where}")
    largest = max(path.stat().st_size for path in tmp_path.rglob("faulty.*"))
    assert largest <= 2**20


def test_a_server_leaves_a_process_in_another_session__that_is_ended_with_it(tmp_path: Path) -> None:
    _, cell = go_wrong("leaves_helpers", tmp_path)
    assert cell.verdict != verdicts.FAILED


def test_a_server_forks_away_and_empties_its_environment__it_costs_its_own_figures_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    """Only the command itself adopts what has lost its parents."""
    names = ("forks_away", "leaves_a_daemon")
    externals = [
        part for name in names for part in ("--external", f"{name}={shlex.join([sys.executable, str(FAULTY), name])}")
    ]
    command = [sys.executable, "-m", "tests.unchecked", "compare", "--impls", "epoll_raw", *externals]
    options = ["--workloads", "short", "--testbed", "loopback", "--budget", "2s", "--blocks", "1"]
    ended = subprocess.run(
        [*command, *options, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert not left_running(tmp_path)
    assert ended.returncode == 1, ended.stderr
    output = " ".join(ended.stdout.split())
    assert "forks_away failed: 0 correct replies and 1 error: 1 server did not start; it ended before" in output
    for name in ("epoll_raw", "leaves_a_daemon"):
        assert re.search(rf" {name} (?!failed)[a-z-]+: ", output), output


def test_a_server_s_program_is_removed_while_it_is_checked__no_obligation_is_called_broken(tmp_path: Path) -> None:
    program = tmp_path / "program"
    serving = shlex.join([sys.executable, "-m", "impls.epoll_raw"])
    program.write_text(f'#!/bin/sh\ncase $1 in --version) ;; *) rm "$0";; esac\nexec {serving} "$@"\n')
    program.chmod(0o755)
    [gone] = find("none", [f"gone={program}"])
    request = compare.Request(
        implementations=[replace(gone, obligations=("REPLY-BYTES",))],
        reference="gone",
        cells=plan.expand(("short",), (1,), (20,)),
        budget_s=1.0,
        slice_s=SLICE_S,
        seed=1,
        out=tmp_path / "out",
        json_file=None,
    )
    printed, progress = Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)
    assert compare.compare(request, printed, progress).outcome == "broken off"
    assert "gone: has changed while it was checked: --version said 'percore" in written(progress)
    assert "not-conformant" not in written(printed)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_a_server_answers_rubbish__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("answers_rubbish", tmp_path)
    assert_failed(cell, "wrong reply", "[red]a proud line[/red]")


@pytest.mark.usefixtures("_short_waits")
def test_a_server_answers_rubbish_without_end_from_the_start__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("answers_rubbish_at_once", tmp_path)
    assert_failed(cell, NOT_STARTED, "the reply has more than 1,048,576 bytes")


def test_a_server_closes_its_listener__it_costs_its_own_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("closes_its_listener", tmp_path)
    assert_failed(cell, "connect", "closing time")


def test_a_server_ignores_sigterm__it_is_killed_and_keeps_its_figures(tmp_path: Path) -> None:
    _, cell = go_wrong("ignores_sigterm", tmp_path)
    assert cell.verdict != verdicts.FAILED
