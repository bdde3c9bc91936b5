"""What makes the load, and what a run cannot do without: when that dies, hangs or talks nonsense, the run ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness import idle, measure, processes
from harness.loadgen import GeneratorFailed
from harness.registry import ROOT
from harness.schema import Slice, Workload
from harness.snapshot import BackendEnded
from harness.testbed import open_testbed
from tests import runs
from tests.left_running import command_line, left_running

SLICE_S = 0.1
GRACE_S = ANSWERS_WITHIN_S = 3.0
"""More than a busy machine holds up what is as it should be: that must not be taken for the fault."""
ON_A_BUSY_MACHINE_S = 8.0
"""How much later than it should something may happen beside other tests."""
BEGINS_WITHIN_S = ENDS_WITHIN_S = 60.0

Fault = Callable[[int], None]
"""Done to a process."""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def talk_nonsense(pid: int) -> None:
    Path(f"/proc/{pid}/fd/1").write_bytes(b"\xff" * 64)


def talk_nonsense_in_a_frame(pid: int) -> None:
    Path(f"/proc/{pid}/fd/1").write_bytes((8).to_bytes(8, "big") + b"nonsense")


def started(parent: int, what: str) -> list[int]:
    """Find children of a process by their command line."""
    return [pid for pid in processes.children(parent) if what in command_line(pid)]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "REPLY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(measure, "GENERATOR_GRACE_S", GRACE_S)
    monkeypatch.setattr(measure, "BACKEND_ANSWERS_WITHIN_S", ANSWERS_WITHIN_S)
    monkeypatch.setattr(idle, "TOLD_WITHIN_S", ANSWERS_WITHIN_S)


def run_with(fault: Fault, what: str, directory: Path, workload: Workload = "short", idle_connections: int = 0) -> None:
    """Do something to a process in the middle of a run, and see that the run ends soon and leaves nothing."""
    faulted_s = 0.0

    def after_the_first(_: Slice) -> None:
        nonlocal faulted_s
        if not faulted_s:
            faulted_s = time.monotonic()
            for pid in started(os.getpid(), what):
                for one in {pid, *processes.children(pid)}:
                    fault(one)

    try:
        runs.measure(
            directory,
            [runs.REFERENCE],
            (workload,),
            after_the_first,
            slice_s=SLICE_S,
            idle=idle_connections,
            budget_s=3.0,
        )
    finally:
        noticed_after_s = time.monotonic() - faulted_s
        assert faulted_s
        assert not left(directory)
        assert noticed_after_s < SLICE_S + 0.5 + GRACE_S + ON_A_BUSY_MACHINE_S


def left(directory: Path) -> list[int]:
    """Find servers by their log file, and what makes the load."""
    return left_running(directory) + started(os.getpid(), "loadgen")


def test_a_generator_is_killed__the_run_ends_within_a_slice_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailed, match=r"^the load generator on CPU \d+ has ended$"):
        run_with(kill, "loadgen.generator", tmp_path)


def test_a_generator_hangs__the_run_ends_within_a_slice_and_the_grace_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailed, match=r"^the load generator on CPU \d+ gave no answer within 3.5 s$"):
        run_with(stop, "loadgen.generator", tmp_path)


@pytest.mark.parametrize("fault", [talk_nonsense, talk_nonsense_in_a_frame])
def test_a_generator_talks_nonsense__the_run_ends_within_a_slice_and_names_it(fault: Fault, tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailed, match=r"^the load generator on CPU \d+ said something that makes no sense: "):
        run_with(fault, "loadgen.generator", tmp_path)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (kill, "has ended"),
        (stop, "gave no answer within 3 s"),
        (talk_nonsense, "said something that makes no sense: a message of 18,446,744,073,709,551,615 bytes is none"),
    ],
)
def test_what_holds_idle_connections_dies_or_hangs_or_talks_nonsense__the_run_ends_within_a_slice_and_names_it(
    fault: Fault, said: str, tmp_path: Path
) -> None:
    with pytest.raises(GeneratorFailed, match=f"^what holds idle connections {said}$"):
        run_with(fault, "loadgen.holder", tmp_path, idle_connections=5)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (kill, r"the backend has ended, or a worker of it \((it was ended by SIGKILL|its parent process is alive); "),
        (stop, r"the backend gives no correct reply in 3 s \(its parent process is alive; "),
    ],
)
def test_the_backend_dies_or_hangs__the_run_ends_and_no_proxy_is_blamed(
    fault: Fault, said: str, tmp_path: Path
) -> None:
    with pytest.raises(BackendEnded, match=f"^{said}.*without it no proxy can be measured$"):
        run_with(fault, "backend.log", tmp_path, "proxy")


@pytest.mark.parametrize("what", ["loadgen.generator", "testbed.build"])
def test_what_a_run_needs_is_killed__it_ends_with_a_report_and_status_1_and_leaves_nothing(
    what: str, tmp_path: Path
) -> None:
    testbed = "netns" if what == "testbed.build" else "loopback"
    if testbed == "netns":
        with open_testbed("auto", with_backend=True) as possible:
            if possible.name != testbed:
                pytest.skip("no network namespaces can be made here")
    command = [sys.executable, "-m", "tests.unchecked", "compare", "--impls", "epoll_raw", "--out", str(tmp_path)]
    options = ["--workloads", "short", "--budget", "60s", "--testbed", testbed]
    with subprocess.Popen([*command, *options], cwd=ROOT, stdout=-1, stderr=-1, text=True) as running:
        try:
            assert processes.wait_until(lambda: measuring(tmp_path) or running.poll() is not None, BEGINS_WITHIN_S)
            descendants = psutil.Process(running.pid).children(recursive=True)
            for pid in started(running.pid, what):
                kill(pid)
            output, errors = running.communicate(timeout=ENDS_WITHIN_S)
        finally:
            running.kill()
    [line] = [line for line in errors.splitlines() if "error" in line]
    assert re.match(r"harness: error: the (load generator on CPU \d+|process that holds the namespace) has ended", line)
    assert "The run ended before its plan was done" in output
    assert running.returncode == 1
    assert processes.wait_until(lambda: not any(one.is_running() for one in descendants), ON_A_BUSY_MACHINE_S)


def measuring(out: Path) -> bool:
    return any(path.stat().st_size for path in out.glob("*/slices.jsonl"))
