"""What perf has recorded, and what is made of it: a full disk, an interrupt, a perf that fails, no tables."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import processes
from harness.errors import BadInput
from harness.profile import files
from harness.registry import ROOT
from tests.fake_perf import OBEYS, fake_perf

PROFILE = [sys.executable, "-m", "harness", "profile", "--impls", "epoll_raw", "--testbed", "loopback"]
SHORT = ["--rate", "200", "--slice", "150ms", "--budget", "1s"]
WITHIN_S = 120.0
FILLS_THE_DISK = """
if number:
    with data.with_name("filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)): pass
        except OSError:
            os._exit(255)
"""
PRINTS_MUCH = """
for at_ns in range(began_ns, time.monotonic_ns(), 2_000_000):
    head = f"swapper 0/0 [000] {at_ns // 10**9}.{at_ns % 10**9:09}: cpu-clock: "
    frames = ["x" * 20_000, "tcp_v4_rcv", "handle_softirqs", "asm_sysvec_call_function"]
    print(head, *(f"\\tffff {name} ([kernel.kallsyms])" for name in frames), "", sep="\\n")
"""


@contextmanager
def profiling(out: Path, path: str, *, prefix: Sequence[str] = ()) -> Iterator["subprocess.Popen[str]"]:
    """Profile with a perf of the tests' own."""
    argv = [*prefix, *PROFILE, *SHORT, "--out", str(out)]
    environment = {**os.environ, "PATH": path}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def left_on(disk: Path, running: "subprocess.Popen[str]") -> dict[str, int]:
    """List the run's files on a disk that only a process sees, with their sizes."""
    return {path.name: path.stat().st_size for path in Path(f"/proc/{running.pid}/root{disk}").glob("out/*/*")}


def test_there_is_no_room_for_what_perf_is_to_record__one_line_says_how_much_it_takes(tmp_path: Path) -> None:
    room = shutil.disk_usage(tmp_path).free
    files.check_room(tmp_path / "not" / "there", 1)
    with pytest.raises(BadInput, match=r"has room for [\d,]+ MB, and perf may record [\d,]+ MB; make room, name"):
        files.check_room(tmp_path / "not" / "there", 2 * room)


def test_the_disk_is_full_when_perf_begins_to_record__one_line_says_so_and_nothing_of_perf_is_left(
    tmp_path: Path, on_a_small_disk: Callable[[], tuple[Sequence[str], Path]]
) -> None:
    prefix, disk = on_a_small_disk()
    # The shell outlives the command, and the disk with it.
    with profiling(
        disk / "out", fake_perf(tmp_path / "bin", FILLS_THE_DISK + OBEYS), prefix=kept_open(prefix)
    ) as running:
        errors = ended(running)
        left = left_on(disk, running)
        running.kill()
    assert len(errors) == 1
    assert errors[0].endswith(" cannot be written: No space left on device\n")
    assert "plan.json" in left
    assert not [name for name in left if "perf" in name]


def test_the_disk_is_full_while_a_profile_is_read__its_tables_come_and_what_perf_recorded_is_left(
    tmp_path: Path, on_a_small_disk: Callable[[], tuple[Sequence[str], Path]]
) -> None:
    prefix, disk = on_a_small_disk()
    with profiling(disk / "out", fake_perf(tmp_path / "bin", script=PRINTS_MUCH), prefix=kept_open(prefix)) as running:
        errors = ended(running)
        left = left_on(disk, running)
        running.kill()
        output, _ = running.communicate(timeout=WITHIN_S)
    assert errors[0].startswith("What perf has recorded is left in ")
    assert errors[0].endswith("perf.data\n")
    assert errors[1].endswith("epoll_raw.perf.txt: cannot be written: No space left on device\n")
    assert "TCP receive" in output
    assert left["profile.json"]
    assert "perf.data" in left
    assert "epoll_raw.perf.txt" not in left


def kept_open(prefix: Sequence[str]) -> list[str]:
    """Return what begins a command in a shell that lives on after it, and says its status on standard error."""
    return [*prefix, "sh", "-c", '"$@"; echo "status $?" >&2; exec >&- ; exec sleep 600', "sh"]


def ended(running: "subprocess.Popen[str]") -> list[str]:
    """Return what a command in such a shell has said on standard error, which ended with status 1."""
    assert running.stderr is not None
    lines: list[str] = []
    for line in running.stderr:
        if line.startswith("status "):
            assert line == "status 1\n", lines
            break
        lines.append(line)
    return lines


def test_an_interrupt_comes_while_a_profile_is_read__what_perf_recorded_is_left_and_named(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin", script="signal.pause()")
    with profiling(tmp_path / "out", path) as running:
        reading = (tmp_path / "bin" / "script").exists
        assert processes.wait_until(lambda: reading() or running.poll() is not None, WITHIN_S)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=WITHIN_S)
    assert running.returncode == 130, errors
    [folder] = (tmp_path / "out").iterdir()
    assert f"What perf has recorded is left in {folder / 'perf.data'}\n" in errors
    assert [path.name for path in folder.glob("*perf*")] == ["perf.data"]


def test_perf_cannot_read_what_it_has_recorded__one_line_says_why_and_that_is_left(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin", script="sys.exit('perf: out of luck')")
    with profiling(tmp_path / "out", path) as running:
        _, errors = running.communicate(timeout=WITHIN_S)
    assert running.returncode == 1, errors
    [folder] = (tmp_path / "out").iterdir()
    assert errors.splitlines() == [
        f"What perf has recorded is left in {folder / 'perf.data'}",
        "harness: error: perf script has ended with status 1: perf: out of luck",
    ]
    assert [path.name for path in folder.glob("*perf*")] == ["perf.data"]


OF_COMPARISONS = ["explain RUN short", "diff RUN RUN", "compare --resume RUN"]


@pytest.mark.parametrize(
    ("command", "has_tables"),
    [("report RUN", False), *((command, has_tables) for command in OF_COMPARISONS for has_tables in (True, False))],
)
def test_a_folder_of_a_profile_is_given_to_a_command_on_comparisons__one_line_says_what_it_is(
    tmp_path: Path, command: str, *, has_tables: bool
) -> None:
    plan = {
        "schema": 2, "command": "profile", "reference": "a", "rounds": 6, "slice_s": 0.25, "budget_s": 1.5, "seed": 1,
        "implementations": [{"name": "a", "argv": ["a"]}], "cells": [],
    }  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "slices.jsonl").touch()
    if has_tables:
        (tmp_path / "profile.json").touch()
    argv = [sys.executable, "-m", "harness", *command.replace("RUN", str(tmp_path)).split()]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    said = (
        "is of harness profile, and no comparison; harness report prints it"
        if has_tables
        else "is of a run of harness profile that ended before it had tables; begin a new one"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"harness: error: {tmp_path}: {said}\n")
    assert not (tmp_path / "conformance").exists()
