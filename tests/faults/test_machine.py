"""The machine under a run: its disk, folders, clock, terminal and signals. Each has a clear outcome, in one line."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from harness import processes, results
from harness.registry import ROOT
from tests.left_running import command_line, left_running

UNCHECKED = [sys.executable, "-m", "tests.unchecked", "compare"]
OPTIONS = ["--impls", "epoll_raw", "--workloads", "short", "--testbed", "loopback", "--concurrency", "10"]
BEGINS_WITHIN_S = ENDS_WITHIN_S = 60.0
GONE_WITHIN_S = 10.0
A_STEP_S = 100_000.0
CLOCK_STEPS = f"""
import random, time
real, random = time.time, random.Random(3)
time.time = lambda: real() + random.choice([-1, 0, 1]) * {A_STEP_S}
from tests import unchecked
unchecked.run()
"""


@contextmanager
def comparing(
    out: Path, *options: str, prefix: Sequence[str] = (), command: Sequence[str] = UNCHECKED
) -> Iterator["subprocess.Popen[str]"]:
    """Run a comparison; in the end it, and all that it has started, must be gone."""
    argv = [*prefix, *command, *OPTIONS, "--out", str(out), *options]
    with subprocess.Popen(argv, cwd=ROOT, stdout=-1, stderr=-1, text=True, start_new_session=True) as running:
        try:
            yield running
        finally:
            running.kill()
            gone = processes.wait_until(lambda: not left_running(out), GONE_WITHIN_S)
            for pid in left_running(out):
                os.kill(pid, signal.SIGKILL)
    assert gone


def await_slices(running: "subprocess.Popen[str]", out: Path) -> Path:
    """Wait until a run has slices, and return its folder."""

    def measuring() -> bool:
        return any(path.stat().st_size for path in out.glob("*/slices.jsonl")) or running.poll() is not None

    assert processes.wait_until(measuring, BEGINS_WITHIN_S)
    assert running.poll() is None, running.communicate()
    [folder] = [path for path in out.iterdir() if (path / "plan.json").exists()]
    return folder


def errors_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("harness: error: ")]


def fill(running: "subprocess.Popen[str]", disk: Path) -> None:
    """Fill a disk that only a process sees, to its last byte."""
    seen = Path(f"/proc/{running.pid}/root{disk}/filler")
    with seen.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left on device"):
        _write_for_ever(file)


def _write_for_ever(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(4096))


def test_the_disk_is_full_in_the_middle_of_a_run__it_ends_with_a_report_of_what_there_is(
    on_a_small_disk: Callable[[], tuple[Sequence[str], Path]],
) -> None:
    prefix, disk = on_a_small_disk()
    with comparing(disk / "out", "--budget", "60s", prefix=prefix) as running:

        def measuring() -> bool:
            seen = Path(f"/proc/{running.pid}/root{disk}")
            return any(path.stat().st_size for path in seen.glob("out/*/slices.jsonl")) or running.poll() is not None

        assert processes.wait_until(measuring, BEGINS_WITHIN_S)
        fill(running, disk)
        output, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert running.returncode == 1
    assert all(line.endswith(" cannot be written: No space left on device") for line in errors_of(errors))
    assert "The run ended before its plan was done" in output
    assert "Traceback" not in errors


def test_the_disk_is_full_while_conformance_is_checked__no_obligation_is_called_broken(
    on_a_small_disk: Callable[[], tuple[Sequence[str], Path]],
) -> None:
    prefix, disk = on_a_small_disk()
    with comparing(disk / "out", prefix=prefix, command=[sys.executable, "-m", "harness", "compare"]) as running:

        def checking() -> bool:
            seen = Path(f"/proc/{running.pid}/root{disk}")
            return any(seen.glob("out/*/conformance/*/*.log")) or running.poll() is not None

        assert processes.wait_until(checking, BEGINS_WITHIN_S)
        fill(running, disk)
        output, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert running.returncode == 1
    assert errors_of(errors)[0].endswith(" cannot be written: No space left on device")
    assert "FAILED" not in errors
    assert "conformance was checked" in output
    assert "Traceback" not in errors


@pytest.mark.parametrize("out", ["/sys/results", "{tmp}/file/results"])
def test_the_folder_for_results_cannot_be_written__one_line_says_so_before_anything_is_measured(
    out: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = subprocess.run(
        [*UNCHECKED, *OPTIONS, "--out", out.format(tmp=tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_WITHIN_S,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"harness: error: {out.format(tmp=tmp_path)}: cannot be made: ")


def test_the_run_s_folder_is_removed_meanwhile__one_line_says_so_and_the_run_ends(tmp_path: Path) -> None:
    with comparing(tmp_path, "--budget", "60s") as running:
        folder = await_slices(running, tmp_path)
        # At once: a file that the run makes meanwhile would keep its folder from being removed.
        shutil.rmtree(folder.rename(tmp_path / "removed"))
        _, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert running.returncode == 1
    [line] = errors_of(errors)
    assert line == f"harness: error: {folder}: was removed while the run was under way; what was measured is lost"
    assert "Traceback" not in errors


def test_a_run_that_is_under_way_is_to_be_gone_on_with__one_line_refuses_and_it_is_left_alone(tmp_path: Path) -> None:
    with comparing(tmp_path, "--budget", "60s") as first:
        folder = await_slices(first, tmp_path)
        command = [*UNCHECKED, "--resume", str(folder)]
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=ENDS_WITHIN_S)
        assert first.poll() is None
    assert again.returncode == 2
    assert errors_of(again.stderr) == [f"harness: error: {folder}: a run is under way in this folder; wait for its end"]


def test_two_runs_begin_in_the_same_folder__each_has_one_of_its_own_in_it(tmp_path: Path) -> None:
    with comparing(tmp_path, "--budget", "60s") as first, comparing(tmp_path, "--budget", "60s") as second:

        def both_are_measuring() -> bool:
            files = tmp_path.glob("*/slices.jsonl")
            return sum(bool(path.stat().st_size) for path in files) == len([first, second])

        assert processes.wait_until(both_are_measuring, BEGINS_WITHIN_S)
        for one in (first, second):
            one.send_signal(signal.SIGTERM)
        for one in (first, second):
            one.communicate(timeout=ENDS_WITHIN_S)
            assert one.returncode == 130
    for folder in tmp_path.iterdir():
        assert_kept(folder)


def test_the_clock_steps_back_and_forth__the_run_does_not_notice(tmp_path: Path) -> None:
    with comparing(
        tmp_path, "--budget", "1s", "--blocks", "1", command=[sys.executable, "-c", CLOCK_STEPS, "compare"]
    ) as running:
        _, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert (running.returncode, errors_of(errors)) == (0, [])
    [folder] = tmp_path.iterdir()
    stored = results.load(folder)
    assert all(0 < piece.wall_ns < 10**10 for piece in stored.slices)
    lines = (folder / results.HISTOGRAMS).read_text().splitlines()
    saved = [line.split(",") for line in lines if line.startswith("Tag=")]
    assert saved
    for _, begin_s, length_s, *_ in saved:
        assert 0 <= float(begin_s) < ENDS_WITHIN_S
        assert 0 <= float(length_s) < ENDS_WITHIN_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_comes_twice_in_the_middle_of_a_run__all_is_ended_and_what_was_measured_is_kept(
    number: signal.Signals, tmp_path: Path
) -> None:
    with comparing(tmp_path, "--budget", "60s") as running:
        folder = await_slices(running, tmp_path)
        running.send_signal(number)
        running.send_signal(number)
        output, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert (running.returncode, errors_of(errors)) == (130, [])
    assert f"harness compare --resume {folder} goes on with it." in output
    assert_kept(folder)


def test_the_terminal_closes__all_is_ended_and_what_was_measured_is_kept(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    argv = ["setsid", "--ctty", *UNCHECKED, *OPTIONS, "--out", str(tmp_path), "--budget", "60s"]
    running = subprocess.Popen(argv, cwd=ROOT, stdin=end, stdout=end, stderr=end, text=True)
    os.close(end)
    try:
        folder = await_slices(running, tmp_path)
        os.close(terminal)
        assert running.wait(ENDS_WITHIN_S) == 130
    finally:
        running.kill()
        running.wait()
    assert not left_running(tmp_path)
    assert_kept(folder)


def test_nobody_reads_the_output_any_more__the_run_goes_on_and_is_kept(tmp_path: Path) -> None:
    with comparing(tmp_path, "--budget", "1s", "--blocks", "1") as running:
        for stream in (running.stdout, running.stderr):
            assert stream is not None
            stream.close()
        assert running.wait(ENDS_WITHIN_S) == 0
    [folder] = tmp_path.iterdir()
    assert not summary_of(folder)["interrupted"]


def checkout(folder: Path, pip: str) -> tuple[list[str], dict[str, str]]:
    """Make a fresh checkout's beginning, and return what installs there, with something in pip's place."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    fakes = folder / "fakes"
    fakes.mkdir()
    (fakes / "pip.py").write_text(pip)
    python = fakes / "python"
    python.write_text(f'#!/bin/sh\n[ "$2" = venv ] && set -- "$@" --without-pip\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = ["make", "-C", str(folder), f"PYTHON={python}", ".venv/installed"]
    return command, {**os.environ, "PYTHONPATH": str(fakes)}


def test_make_is_interrupted_while_it_installs__the_next_one_begins_anew(tmp_path: Path) -> None:
    """What takes pip's place is interrupted the first time, with half of its work done."""
    venv = tmp_path / ".venv"
    command, environment = checkout(
        tmp_path,
        "import pathlib, signal, sys\n"
        "half, again = (pathlib.Path(sys.prefix, name) for name in ('half-done', '../again'))\n"
        "assert not half.exists()\n"
        "half.touch()\n"
        "again.exists() or signal.pause()\n",
    )
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True) as first:
        try:
            assert processes.wait_until((venv / "half-done").exists, BEGINS_WITHIN_S)
        finally:
            os.killpg(first.pid, signal.SIGINT)
            first.communicate(timeout=ENDS_WITHIN_S)
    assert first.returncode
    assert not (venv / "installed").exists()
    (tmp_path / "again").touch()
    second = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=ENDS_WITHIN_S
    )
    assert second.returncode == 0, second.stderr
    assert (venv / "installed").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock (util-linux) make says to run one at a time")
def test_two_makes_at_once_in_a_fresh_checkout__one_installs_and_the_other_waits_for_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command, environment = checkout(
        tmp_path,
        "import pathlib, sys, time\n"
        "runs, go = (pathlib.Path(sys.prefix, '..', name) for name in ('runs', 'go'))\n"
        "runs.open('a').write('x')\n"
        "end_s = time.monotonic() + 100\n"
        "while not go.exists() and time.monotonic() < end_s: time.sleep(0.01)\n",
    )

    def make() -> "subprocess.Popen[str]":
        return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True)

    def waits_or_installs(second: "subprocess.Popen[str]") -> bool:
        return runs.read_text() == "xx" or any(
            "flock" in command_line(child.pid) for child in psutil.Process(second.pid).children()
        )

    with make() as first, make_after(make, runs.exists) as second:
        try:
            assert processes.wait_until(lambda: waits_or_installs(second), BEGINS_WITHIN_S)
        finally:
            (tmp_path / "go").touch()
        said = [one.communicate(timeout=ENDS_WITHIN_S) for one in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), said
    assert runs.read_text() == "x"
    assert (tmp_path / ".venv" / "installed").exists()


def make_after(make: Callable[[], "subprocess.Popen[str]"], begun: Callable[[], bool]) -> "subprocess.Popen[str]":
    assert processes.wait_until(begun, BEGINS_WITHIN_S)
    return make()


def assert_kept(folder: Path) -> None:
    stored = results.load(folder)
    assert stored.slices
    assert stored.notes == ()
    assert summary_of(folder)["interrupted"]


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / results.SUMMARY).read_text())
    return found
