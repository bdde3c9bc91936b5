"""The soak command on running servers: what grows is found, and what does not is told so."""

import os
import re
import shlex
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_args

import msgspec
import pytest
from rich.console import Console

from harness import measure, plan, processes
from harness.analysis.growth import FEWEST_SAMPLES
from harness.measure import Contestant, LoadSide
from harness.registry import ROOT, Implementation, find
from harness.schema import Slice, Workload
from harness.soak import Request, _Run, soak
from harness.testbed.placement import Cpus

CONNECTIONS = 9_000
"""A fast server answers some three hundred in the shortest slice, and ten samples are needed to tell."""
KEPT = 30_000
"""Requests on kept connections, of which there are many in the shortest slice."""


def soaked(
    implementation: Implementation,
    workload: Workload,
    budget_s: float = 60.0,
    connections: int = CONNECTIONS,
    concurrency: int = 20,
) -> tuple[bool, str]:
    """Run the command, and return whether all was well and what it printed."""
    output, progress = StringIO(), Console(file=StringIO())
    request = Request(
        implementations=[implementation], workload=workload, connections=connections, workers=1,
        concurrency=concurrency, budget_s=budget_s, testbed="loopback", cpus=Cpus(),
    )  # fmt: skip
    kept = soak(request, Console(file=output, width=120), progress) == "stood"
    return kept, " ".join(output.getvalue().split())


@pytest.fixture
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Implementation:
    """Return one of the servers in ``tests/torture_fakes``."""
    monkeypatch.chdir(ROOT)
    command = shlex.join([sys.executable, "-m", f"tests.torture_fakes.{request.param}"])
    [fake] = find("none", [f"{request.param}={command}"])
    return fake


@pytest.mark.parametrize("workload", get_args(Workload))
def test_the_reference_does_not_grow(workload: Workload) -> None:
    [reference] = find("epoll_raw")
    # As a proxy it keeps as many sockets for reuse as were in use at once: with few, all are there in the first tenth.
    concurrency = 2 if workload == "proxy" else 20
    connections = KEPT if workload == "keepalive" else CONNECTIONS
    kept, text = soaked(reference, workload, connections=connections, concurrency=concurrency)
    assert kept, text
    assert "worker 0: does not grow" in text


@pytest.mark.parametrize("replies", [0, 2])
@pytest.mark.parametrize("held_up", [1, 2, 3])
def test_a_slice_that_was_held_up_makes_the_next_hardly_longer(held_up: int, replies: int) -> None:
    asked_s: list[float] = []

    def measured(_: Contestant, turn: measure.Turn) -> tuple[Slice, None]:
        asked_s.append(turn.slice_s)
        requests = replies if len(asked_s) == held_up else round(20_000 * turn.slice_s)
        piece = measure.unmeasured(cell, "a", turn, "", "")
        return msgspec.structs.replace(piece, errors={}, requests=requests), None

    [cell] = plan.expand(["short"], [1], [2])
    server = SimpleNamespace(worker_pids=lambda: [os.getpid()])
    request = Request(
        implementations=[], workload="short", connections=CONNECTIONS, workers=1, concurrency=2, budget_s=60.0,
        testbed="loopback", cpus=Cpus(),
    )  # fmt: skip
    contestant = cast("Contestant", SimpleNamespace(name="a", server=server))
    _Run(contestant, cast("LoadSide", SimpleNamespace(measure=measured)), request).run(lambda _: None)
    assert len(asked_s) > FEWEST_SAMPLES
    assert max(asked_s) <= 0.1


@pytest.mark.parametrize("planted", ["grows_slowly"], indirect=True)
def test_a_server_that_keeps_a_kilobyte_a_connection_grows(planted: Implementation) -> None:
    kept, text = soaked(planted, "short")
    assert not kept
    slope = re.search(r"worker 0: GROWS: \+([0-9.]+) bytes per thousand", text)
    assert slope, text
    assert 900_000 < float(slope[1]) < 1_400_000


@pytest.mark.parametrize("planted", ["leaks_now_and_then"], indirect=True)
def test_a_server_that_keeps_a_descriptor_now_and_then_grows(planted: Implementation) -> None:
    kept, text = soaked(planted, "short")
    assert not kept
    assert "worker 0: GROWS" in text, text


@pytest.mark.parametrize("planted", ["dies_now_and_then"], indirect=True)
def test_a_server_whose_worker_ends_is_not_well(planted: Implementation) -> None:
    kept, _ = soaked(planted, "short")
    assert not kept


def test_a_server_without_the_workers_asked_for_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [fake] = find("none", [f"lonely={shlex.join([sys.executable, '-m', 'tests.fakes.one_worker'])}"])
    request = Request(
        implementations=[fake], workload="short", connections=CONNECTIONS, workers=2, concurrency=20,
        budget_s=60.0, testbed="loopback", cpus=Cpus(),
    )  # fmt: skip
    progress = StringIO()
    assert soak(request, Console(file=StringIO()), Console(file=progress, width=200)) == "failed"
    assert "lonely: 1 child processes, where 2 workers were asked for" in progress.getvalue()


@pytest.mark.parametrize("planted", ["hangs"], indirect=True)
def test_a_server_that_hangs_ends_after_three_slices_with_the_reason(
    planted: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "REPLY_TIMEOUT_S", 0.5)
    kept, text = soaked(planted, "short", budget_s=600.0, connections=10**9)
    assert not kept
    assert "FAILED: hangs gave no reply in 3 slices in a row" in text
    assert "its last lines" in text


def test_an_interrupt_shows_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "soak", "--impls", "epoll_raw,uvloop", "--testbed", "loopback"]
    command += ["--connections", "100000000", "--concurrency", "20"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert processes.wait_until(lambda: is_loaded(said(tmp_path)), 60)
            running.send_signal(signal.SIGINT)
            told, _ = running.communicate(timeout=200)
        finally:
            running.kill()
    assert running.returncode == 130, told
    assert "SHORT on epoll_raw: " in told
    assert "BROKEN OFF after" in told
    assert "uvloop" not in told
    assert not list(tmp_path.iterdir())


def is_loaded(text: str) -> bool:
    """Tell from statistics whether there was a load: to see that a server answers takes a few requests as well."""
    return re.search(r"^worker 0 cpu \d+ requests \d{3,} ", text, re.MULTILINE) is not None


def said(folder: Path) -> str:
    """Return what servers have printed: statistics from their first second on."""
    return "".join(path.read_text() for path in folder.glob("*/epoll_raw.err"))


def test_what_takes_too_long_is_broken_off() -> None:
    [reference] = find("epoll_raw")
    kept, text = soaked(reference, "short", budget_s=0.1)
    assert not kept
    assert "BROKEN OFF after" in text
