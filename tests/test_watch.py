"""harness watch, and a run on a terminal: what is shown while it is under way, and what is left when it ends."""

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from harness import growing_run, results
from harness.errors import BadInput
from harness.growing_run import GrowingRun
from harness.registry import ROOT
from harness.results import RunFolder
from harness.schema import Schedule, Slice
from tests import run_folders
from tests.commands import run
from tests.left_running import left_running
from tests.simulated import Server, measure, planned

WITHIN_S = 60.0
ALTERNATE, USUAL, SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
"""What a terminal is told: take the other page, take the usual one again, show the cursor."""
COMPARE = [
    *(sys.executable, "-m", "tests.unchecked", "compare", "--impls", "epoll_raw,trio", "--workloads", "short"),
    *("--testbed", "loopback", "--concurrency", "10", "--budget", "120s"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folders.write(run_folders.of_schema_2(), tmp_path / "run")


def test_a_run_that_has_ended_is_said_to_have_and_reported(folder: Path) -> None:
    said = run("watch", folder)
    assert (said.status, said.err) == (0, f"{folder}: this run has ended\n")
    assert said.out == run("report", folder).out
    (folder / results.SUMMARY).unlink()
    said = run("watch", folder)
    assert said.status == 1
    assert said.err.splitlines()[-1] == (
        f"{folder}: ended before its plan was done; harness compare --resume goes on with it"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nosuch", "not a folder of results; name the folder of one run"),
        (".", "no run is under way here; name the folder of one, as in harness watch results/RUN"),
    ],
)
def test_where_there_is_nothing_to_be_watched_one_line_says_so(folder: Path, name: str, why: str) -> None:
    said = run("watch", folder.parent / name)
    assert said.is_one_line_of_error
    assert why in said.err


def test_where_nothing_was_ever_run_nothing_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("watch")
    assert said.is_one_line_of_error
    assert "results: no run is under way here" in said.err


def pieces(folder: Path) -> list[bytes]:
    return (folder / results.SLICES).read_bytes().splitlines(keepends=True)


def test_each_slice_is_read_once_and_half_a_line_waits_for_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_run, "_AT_ONCE_BYTES", 7)
    whole = results.load(folder).slices
    first, second, *_ = lines = pieces(folder)
    file = folder / results.SLICES
    file.write_bytes(first + second[:50])
    with GrowingRun(folder) as growing:
        assert list(growing.new_slices()) == list(whole[:1])
        with file.open("ab") as end:
            end.write(second[50:-1])
            end.flush()
            assert list(growing.new_slices()) == []
            end.write(b"\n" + b"".join(lines[2:]))
        assert list(growing.new_slices()) == list(whole[1:])
        assert list(growing.new_slices()) == []


def test_what_a_run_that_goes_on_has_cut_off_is_forgotten(folder: Path) -> None:
    whole = results.load(folder).slices
    first, second, third, *_ = pieces(folder)
    file = folder / results.SLICES
    file.write_bytes(first + second[:50])
    with GrowingRun(folder) as growing:
        assert len(list(growing.new_slices())) == 1
        os.truncate(file, len(first))
        assert list(growing.new_slices()) == []
        with file.open("ab") as end:
            end.write(third)
        assert list(growing.new_slices()) == [whole[2]]


def test_a_plan_that_is_written_anew_is_read_again(folder: Path) -> None:
    stored = results.load(folder)
    with GrowingRun(folder) as growing:
        assert not growing.plan_has_changed()
        with RunFolder.reopen(stored) as written:
            written.write_schedule(stored.plan.cells[:1], Schedule(slice_s=0.5, rounds=77, blocks=7))
        assert growing.plan_has_changed()
        assert growing.plan.cells[0].schedule == Schedule(slice_s=0.5, rounds=77, blocks=7)
        assert not growing.plan_has_changed()


def test_what_is_no_slice_is_named_with_its_line(folder: Path) -> None:
    with (folder / results.SLICES).open("ab") as file:
        file.write(b"{}\n")
    number = len(pieces(folder))
    with GrowingRun(folder) as growing, pytest.raises(BadInput, match=rf"slices.jsonl, line {number}: "):
        list(growing.new_slices())


def test_a_folder_that_is_removed_is_noticed(folder: Path) -> None:
    with GrowingRun(folder) as growing:
        assert not growing.is_gone
        shutil.rmtree(folder)
        assert growing.is_gone


def test_who_asks_whether_a_run_is_under_way_keeps_none_from_beginning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_ASKED_WITHIN_S", WITHIN_S)
    refused = threading.Event()

    def note(file: object, how: int) -> None:
        try:
            flock(file, how)  # type: ignore[arg-type]
        except BlockingIOError:
            refused.set()
            raise

    flock = fcntl.flock
    with (folder / results.SLICES).open("rb") as asked:
        flock(asked, fcntl.LOCK_SH)
        monkeypatch.setattr(fcntl, "flock", note)
        threading.Thread(target=lambda: (refused.wait(WITHIN_S), flock(asked, fcntl.LOCK_UN))).start()
        with RunFolder.reopen(results.load(folder)):
            assert refused.is_set()
            assert results.is_under_way(folder)
    assert not results.is_under_way(folder)


@contextmanager
def run_by_hand(out: Path) -> Iterator[tuple[Path, Callable[[Slice], None]]]:
    """Be a run of two cells; gives its folder, and what adds a slice."""
    plan = planned(["epoll_raw", "trio"])
    with RunFolder.create(out, msgspec.structs.replace(plan, conformance_checked=False)) as written:
        written.write_plan(plan)
        written.write_schedule(plan.cells, Schedule(slice_s=0.05, rounds=50, blocks=1))
        yield written.path, written.append_slice


class Terminal:
    """A program on a terminal of 80 columns and 24 lines, and all that it has written."""

    def __init__(self, command: list[str]) -> None:
        self.written = b""
        self._own, end = pty.openpty()
        termios.tcsetwinsize(end, (24, 80))
        argv = ["setsid", "--ctty", *command]
        self.process = subprocess.Popen(
            argv, cwd=ROOT, stdin=end, stdout=end, stderr=end,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(end)

    def read_until(self, wanted: Callable[[bytes], bool]) -> None:
        """Read until what was written is as wanted."""
        while not wanted(self.written):
            ready, _, _ = select.select([self._own], [], [], WITHIN_S)
            assert ready, self.written.decode()
            assert self._read(), self.written.decode()

    def press_ctrl_c(self) -> None:
        """Press it."""
        os.write(self._own, b"\x03")

    def read_to_the_end(self) -> int:
        """Return the program's status."""
        while self._read():
            pass
        return self.process.wait(WITHIN_S)

    def close(self) -> None:
        """End the program where it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def _read(self) -> bytes:
        try:
            data = os.read(self._own, 65_536)
        except OSError:  # as Linux tells that nobody is at the other end
            return b""
        self.written += data
        return data


def on_its_page(written: bytes) -> str:
    """Return what was written to the terminal's other page, without colours and moves."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.partition(ALTERNATE)[2].partition(USUAL)[0].decode())


def test_a_run_on_a_terminal_leaves_it_as_it_was_when_ctrl_c_ends_it(tmp_path: Path) -> None:
    terminal = Terminal([*COMPARE, "--out", str(tmp_path)])
    try:
        terminal.read_until(lambda written: re.search(rb", round \d+ of \d+", written) is not None)
        [folder] = tmp_path.iterdir()
        watching = subprocess.Popen(
            [sys.executable, "-m", "harness", "watch", str(tmp_path)], cwd=ROOT, stdout=-1, stderr=-1, text=True
        )
        assert watching.stderr is not None
        begun = watching.stderr.readline()
        terminal.press_ctrl_c()
        assert terminal.read_to_the_end() == 130
        output, errors = watching.communicate(timeout=WITHIN_S)
    finally:
        terminal.close()
    assert not left_running(tmp_path)
    before, report = terminal.written.split(ALTERNATE)[0], terminal.written.rpartition(USUAL)[2]
    assert terminal.written.count(ALTERNATE) == terminal.written.count(USUAL) == 1
    assert b"Plan" in before
    assert terminal.written.rindex(SHOWN) > terminal.written.rindex(b"\x1b[?25l")
    assert b"The run ended before its plan was done" in report
    assert "epoll_raw" in on_its_page(terminal.written)
    assert "\x1b" not in report.decode()
    assert re.match(r"short/w1/c10: \d+ rounds of \d+ ms each", begun)
    assert watching.returncode == 1
    assert "The run ended before its plan was done" in output
    assert f"{folder}: ended before its plan was done" in errors


def test_ctrl_c_ends_watching_alone(tmp_path: Path) -> None:
    with run_by_hand(tmp_path) as (folder, add):
        slices = measure(results.load_comparison(folder), {"epoll_raw": Server(10_000), "trio": Server(5000)})
        for piece in slices[:20]:
            add(piece)
        terminal = Terminal([sys.executable, "-m", "harness", "watch", str(folder)])
        try:
            terminal.read_until(lambda written: re.search(rb"requests/s (?:as|than) trio", written) is not None)
            assert os.sched_getscheduler(terminal.process.pid) == os.SCHED_BATCH
            assert os.getpriority(os.PRIO_PROCESS, terminal.process.pid) == 19
            assert 0 not in os.sched_getaffinity(terminal.process.pid), "the server's CPU"
            for piece in slices[20:]:
                add(piece)
            terminal.read_until(lambda written: b"round 50 of 50" in written)
            terminal.press_ctrl_c()
            assert terminal.read_to_the_end() == 130
        finally:
            terminal.close()
        assert results.is_under_way(folder)
    assert b"watching" in terminal.written
    assert terminal.written.endswith(b"harness: interrupted\r\n")
    assert terminal.written.rindex(SHOWN) > terminal.written.rindex(b"\x1b[?25l")
    assert terminal.written.count(ALTERNATE) == terminal.written.count(USUAL) == 1


def test_watching_ends_when_the_folder_is_removed(tmp_path: Path) -> None:
    with (
        run_by_hand(tmp_path) as (folder, _),
        subprocess.Popen(
            [sys.executable, "-m", "harness", "watch", str(folder)], cwd=ROOT, stderr=-1, text=True
        ) as watching,
    ):
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("short/w1/c100: 50 rounds")
        shutil.rmtree(folder.rename(tmp_path / "removed"))
        _, errors = watching.communicate(timeout=WITHIN_S)
    assert (watching.returncode, errors) == (1, f"harness: error: {folder}: was removed while the run was under way\n")


def test_quiet_leaves_the_report(tmp_path: Path) -> None:
    with run_by_hand(tmp_path) as (folder, add):
        for piece in measure(results.load_comparison(folder), {"epoll_raw": Server(10_000), "trio": Server(5000)}):
            add(piece)
    (folder / results.SUMMARY).write_bytes(b'{"reference": "epoll_raw", "cells": []}')
    said = run("watch", "--quiet", folder)
    assert (said.status, said.err) == (0, "")
    assert "In one sentence" in said.out
    assert run("watch", folder).err, "the next command is not quiet for that"
