"""The compare command from its first line to its last, as a user runs it."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness.registry import ROOT
from tests.left_running import left_running

HARNESS = [str(Path(sys.executable).with_name("harness"))]
UNCHECKED = [sys.executable, "-m", "tests.unchecked"]
BEGINS_WITHIN_S, ENDS_WITHIN_S = 200.0, 200.0
COMPARED_WITHIN_S = 400.0
"""Conformance alone takes a minute and more where other tests take most of the CPUs."""
waits_for_compared = pytest.mark.timeout(COMPARED_WITHIN_S + 100)
"""For each test that takes ``compared``, since any of them can be the first."""
LIMITS = {"server-bound", "client-bound", "backend-bound", "unsaturated", "shared-cpus", "noisy"}
ON_LOOPBACK = {"backlog-drop"}
"""There the kernel counts the drops of all sockets, and other tests fill queues on purpose."""
BROKEN = f"broken={shlex.join([sys.executable, '-m', 'tests.fakes.two_packets'])}"


@dataclass(frozen=True)
class Finished:
    """What a run of the command came to."""

    status: int
    output: str
    progress: str
    summary: dict[str, Any]
    folder: Path

    def cell(self, impl: str, workload: str) -> dict[str, Any]:
        """Return an entry of the summary."""
        [found] = [one for one in self.summary["cells"] if (one["impl"], one["workload"]) == (impl, workload)]
        assert isinstance(found, dict)
        return found


@contextmanager
def comparing(out: Path, *options: str, harness: Sequence[str] = HARNESS) -> Iterator["subprocess.Popen[str]"]:
    """Run the command in the project's folder; it is killed at the end if it still runs."""
    command = [*harness, "compare", "--out", str(out), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Compare one that keeps the contract with one that does not, under all workloads."""
    out = tmp_path_factory.mktemp("compared")
    options = ["--impls", "epoll_raw", "--external", BROKEN, "--budget", "10s", "--slice", "180ms", "--blocks", "2"]
    options += ["--concurrency", "20", "--seed", "7"]
    with comparing(out, *options, "--json", str(out / "copy.json")) as running:
        output, progress = running.communicate(timeout=COMPARED_WITHIN_S)
    [folder] = [path for path in out.iterdir() if path.is_dir()]
    return Finished(running.returncode, output, progress, json.loads((out / "copy.json").read_text()), folder)


@waits_for_compared
def test_the_plan_comes_first_and_the_sentence_last(compared: Finished) -> None:
    parts = ["Plan\n", "SHORT: ", "KEEPALIVE: ", "PROXY: ", "In one sentence", f"All of it is in {compared.folder}"]
    places = [compared.output.index(part) for part in parts]
    assert places == sorted(places)
    assert places[0] == 0
    assert "drawn from seed 7." in " ".join(compared.output.split())


@waits_for_compared
def test_progress_tells_what_is_left(compared: Finished) -> None:
    assert "broken  FAILED  REPLY-ONE-PACKET" in compared.progress
    assert re.search(
        r"^keepalive/w1/c20: \d+ rounds of \d+ ms each in \d+ blocks, about \d+ s left$",
        compared.progress,
        re.MULTILINE,
    )


@waits_for_compared
def test_the_summary_has_what_was_promised(compared: Finished) -> None:
    assert compared.summary == json.loads((compared.folder / "summary.json").read_text())
    assert (compared.summary["schema"], compared.summary["reference"]) == (2, "epoll_raw")
    plan = json.loads((compared.folder / "plan.json").read_text())
    cells = [compared.cell("epoll_raw", workload) for workload in ("short", "keepalive", "proxy")]
    for cell in cells:
        assert (cell["workers"], cell["concurrency"], cell["conformant"], cell["errors"]) == (1, 20, True, 0)
        assert cell["requests"] > 0
        assert cell["verdict"] in LIMITS | (ON_LOOPBACK if plan["testbed"] == "loopback" else set())
    # Beside the other tests a server may get so little of its CPU that nothing can be claimed in a cell.
    judged = [cell for cell in cells if cell["throughput_rps"]["value"] is not None]
    assert judged
    for cell in judged:
        assert cell["rounds"] > 1
        throughput, latency, cpu = cell["throughput_rps"], cell["latency_us"], cell["cpu_us_per_request"]
        assert 0 <= throughput["low"] <= throughput["value"] <= throughput["high"]
        assert cell["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99_9"] <= latency["max"]
        assert cpu["total"] == pytest.approx(cpu["user"] + cpu["system"] + (cpu["softirq"] or 0.0))


@waits_for_compared
def test_between_namespaces_a_request_has_its_segments(compared: Finished) -> None:
    short, kept = (compared.cell("epoll_raw", workload)["segments_per_request"] for workload in ("short", "keepalive"))
    if json.loads((compared.folder / "plan.json").read_text())["testbed"] == "loopback":
        assert short == kept == {"in": None, "out": None}
        return
    # A connection has a SYN, the request and a FIN at least, a kept one's request is a segment for itself.
    assert 3 <= short["in"] < 8
    assert 3 <= short["out"] < 8
    assert 0.9 < kept["in"] < 3
    assert 0.9 < kept["out"] < 3


@waits_for_compared
def test_what_breaks_the_contract_gets_no_figures(compared: Finished) -> None:
    assert compared.status == 1
    cell = compared.cell("broken", "short")
    assert (cell["conformant"], cell["verdict"], cell["rounds"]) == (False, "not-conformant", 0)
    assert cell["throughput_rps"] == cell["ratio"] == {"value": None, "low": None, "high": None}
    assert "REPLY-ONE-PACKET" in cell["evidence"]
    assert "broken is not ranked on short, keepalive and proxy (not-conformant)" in compared.output.replace(
        "\n    ", " "
    )


@waits_for_compared
def test_the_folder_has_everything_and_is_printed_again_as_it_was(compared: Finished) -> None:
    names = {path.name for path in compared.folder.iterdir()}
    assert names >= {"plan.json", "environment.json", "slices.jsonl", "histograms.hlog", "summary.json", "servers"}
    report = subprocess.run(
        [*HARNESS, "report", str(compared.folder)], cwd=compared.folder, capture_output=True, text=True, check=True
    )
    assert report.stdout.strip() == compared.output.partition("All of it is in")[0].strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_and_what_was_measured_is_kept_and_gone_on_with(
    number: signal.Signals, tmp_path: Path
) -> None:
    options = ["--impls", "epoll_raw", "--workloads", "short", "--testbed", "loopback", "--budget", "3s"]
    options += ["--blocks", "2"]
    with comparing(tmp_path, *options, harness=UNCHECKED) as running:

        def measuring() -> bool:
            return any(len(path.read_text().splitlines()) > 5 for path in tmp_path.glob("*/slices.jsonl"))

        assert processes.wait_until(lambda: measuring() or running.poll() is not None, BEGINS_WITHIN_S)
        running.send_signal(number)
        running.send_signal(number)
        output, _ = running.communicate(timeout=ENDS_WITHIN_S)
    assert running.returncode == 130
    assert "The run ended before its plan was done" in output
    [folder] = tmp_path.iterdir()
    assert f"harness compare --resume {folder} goes on with it." in output
    assert not left_running(folder)
    summary, kept = json.loads((folder / "summary.json").read_text()), slices_of(folder)
    assert summary["interrupted"]
    assert summary["cells"][0]["requests"] == sum(piece["requests"] for piece in kept if piece["phase"] == "load")
    assert_can_be_finished(folder, kept)


def assert_can_be_finished(folder: Path, kept: list[dict[str, Any]]) -> None:
    """Go on with a run: its plan stays, what it has stays, and each turn is had once."""
    plan = (folder / "plan.json").read_text()
    [schedule] = [cell["schedule"] for cell in json.loads(plan)["cells"]]
    resumed = subprocess.run(
        [*HARNESS, "compare", "--resume", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "--resume" not in resumed.stdout
    assert "ended before its plan" not in resumed.stdout
    assert (folder / "plan.json").read_text() == plan
    assert not json.loads((folder / "summary.json").read_text())["interrupted"]
    slices = slices_of(folder)
    assert len(kept) < len(slices)
    assert slices[: len(kept)] == kept
    turns = [(piece["phase"], piece["round"]) for piece in slices]
    assert len(set(turns)) == len(turns)
    assert {number for phase, number in turns if phase == "load"} == set(range(schedule["rounds"]))
    assert not left_running(folder)


def test_an_interrupt_while_conformance_is_checked_leaves_nothing_running(tmp_path: Path) -> None:
    with comparing(tmp_path, "--impls", "epoll_raw") as running:
        assert processes.wait_until(lambda: any(tmp_path.glob("*/conformance/*/*.log")), BEGINS_WITHIN_S)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=ENDS_WITHIN_S)
    assert running.returncode == 130
    assert errors.endswith("harness: interrupted\n")
    assert not left_running(tmp_path)


def slices_of(folder: Path) -> list[dict[str, Any]]:
    """Return the slices of a run as its file has them."""
    return [json.loads(line) for line in (folder / "slices.jsonl").read_text().splitlines()]
