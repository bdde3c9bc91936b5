"""What a dead run left is ended, and nothing else."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from harness import leftovers, processes
from harness.registry import ROOT

ENDS_WITHIN_S = 5.0
WRAPPED = ["sh", "-c", "sleep 1000 & echo $!; wait"]
"""A wrapper without exec: the kernel ends the shell with the harness, and not the program."""
HARNESS = f"""
import signal, subprocess, sys
from harness import leftovers, processes
leftovers._MARK = sys.argv[1]
wrapper = processes.start({WRAPPED!r}, cwd=None, stdout=subprocess.PIPE, stderr=None)
print(int(wrapper.stdout.readline()), flush=True)
signal.pause()
"""


@pytest.fixture(autouse=True)
def _mark_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no harness that runs beside this test, another test's perhaps, find what is left here, and end it first."""
    monkeypatch.setattr(leftovers, "_MARK", f"PERCORE_RUN_{os.getpid()}")


@contextmanager
def a_harness() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a harness that has started a program by way of a wrapper; both end."""
    command = [sys.executable, "-c", HARNESS, *leftovers.mark()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        try:
            assert processes.wait_until(lambda: names([pid]) == ["sleep"], ENDS_WITHIN_S)
            yield harness, pid
        finally:
            harness.kill()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


FOLDER = """
import signal
from harness import leftovers
folder = leftovers.new_folder("x")
(folder / "of a run").touch()
print(folder, flush=True)
signal.pause()
"""


def test_the_folder_of_a_killed_run_is_removed_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = leftovers.new_folder("x")
    leftovers.keep_folder(kept)
    own, elsewhere = leftovers.new_folder("x"), tmp_path / "percore-x-not-a-run"
    elsewhere.mkdir()
    (tmp_path / "percore-x-file").touch()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FOLDER]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as harness:
        try:
            assert harness.stdout is not None
            left = Path(harness.stdout.readline().strip())
            assert leftovers.remove_folders() == []
        finally:
            harness.kill()
    assert left.is_dir()
    told: list[str] = []
    leftovers.clear_away(told.append)
    assert told == [f"removed what a run that died has left: {left}"]
    assert not left.exists()
    assert kept.is_dir()
    assert own.is_dir()
    assert elsewhere.is_dir()


@pytest.mark.parametrize("killed_is", ["a zombie", "gone"])
def test_what_a_killed_harness_left_is_ended_and_told(killed_is: str) -> None:
    with a_harness() as (killed, orphan), a_harness() as (alive, busy):
        killed.kill()
        assert processes.wait_ended(killed.pid, ENDS_WITHIN_S)
        if killed_is == "gone":
            killed.wait()
        ended = leftovers.clean_up()
        assert leftovers.Leftover(orphan, "sleep 1000") in ended
        assert processes.wait_ended(orphan, 0)
        assert busy not in [leftover.pid for leftover in ended]
        assert not processes.wait_ended(busy, 0)
        assert alive.poll() is None


@pytest.mark.parametrize("harness", ["alive", "gone"])
def test_a_process_id_that_came_again_is_no_live_harness(harness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [(name, value)] = leftovers.mark().items()
    monkeypatch.setattr(leftovers, "mark", lambda: {name: value if harness == "alive" else f"{os.getpid()}:1"})
    process = processes.start(["sleep", "1000"], cwd=None, stdout=None, stderr=None)
    try:
        assert processes.wait_until(lambda: psutil.Process(process.pid).name() == "sleep", ENDS_WITHIN_S)
        ended = [leftover.pid for leftover in leftovers.clean_up()]
        assert processes.wait_ended(process.pid, 0) is (process.pid in ended) is (harness == "gone")
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="a process id namespace takes root")
def test_what_a_container_runs_belongs_to_none_of_the_harnesses_here() -> None:
    [name] = leftovers.mark()
    command = ["unshare", "--pid", "--fork", "--kill-child", "env", f"{name}={os.getpid()}:1", "sleep", "1000"]
    container = processes.start(command, cwd=None, stdout=None, stderr=None)
    try:
        assert processes.wait_until(lambda: "sleep" in names(processes.children(container.pid)), ENDS_WITHIN_S)
        leftovers.clean_up()
        assert names(processes.children(container.pid)) == ["sleep"]
    finally:
        container.kill()
        container.wait()


def names(pids: Sequence[int]) -> list[str]:
    return [psutil.Process(pid).name() for pid in pids]
