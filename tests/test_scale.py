"""The scale command from its first line to its last, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import hosts, processes
from harness.analysis.verdicts import WITHOUT_CLAIM
from harness.registry import ROOT
from harness.testbed.placement import Cpus
from tests import commands
from tests.left_running import left_running

UNCHECKED = [sys.executable, "-m", "tests.unchecked"]
BEGINS_WITHIN_S, ENDS_WITHIN_S = 200.0, 200.0
NAMES = ("epoll_raw", "epoll_raw+reuseport")
OPTIONS = ["--impls", "epoll_raw", "--listen", "shared,reuseport", "--concurrency", "10", "--blocks", "1"]
OPTIONS += ["--budget", "10m"]


def test_a_run_is_interrupted_gone_on_with_and_reported(tmp_path: Path) -> None:
    command = [*UNCHECKED, "scale", "--out", str(tmp_path), *OPTIONS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:

        def measuring() -> bool:
            return any(len(path.read_text().splitlines()) > 5 for path in tmp_path.glob("*/slices.jsonl"))

        try:
            assert processes.wait_until(lambda: measuring() or running.poll() is not None, BEGINS_WITHIN_S)
            running.terminate()
            output, _ = running.communicate(timeout=ENDS_WITHIN_S)
        finally:
            running.kill()
    assert running.returncode == 130
    assert "The run ended before its plan was done" in output
    [folder] = tmp_path.iterdir()
    assert f"harness scale --resume {folder} goes on with it." in output
    assert not left_running(folder)

    workers = hosts.usual_workers(Cpus(), ["short"])
    kept = slices_of(folder)
    shorten(folder, rounds=max(piece["round"] for piece in kept) + 3)
    resumed = commands.run("scale", "--resume", folder)
    assert not left_running(folder)
    assert "--resume" not in resumed.out, resumed.out + resumed.err
    assert "SHORT: requests/s against workers, 10 connections for each" in resumed.out
    slices = slices_of(folder)
    assert slices[: len(kept)] == kept
    turns = {(piece["cell"], piece["impl"], piece["round"]) for piece in slices}
    last = {number for _, _, number in turns}
    assert len(turns) == len(slices) == len(last) * len(workers) * len(NAMES)
    assert turns == {(f"short/w{n}/c{10 * n}", name, number) for n in workers for name in NAMES for number in last}

    summary = json.loads((folder / "summary.json").read_text())
    assert {(one["impl"], tuple(p["workers"] for p in one["points"])) for one in summary["scaling"]} == {
        (name, workers) for name in NAMES
    }
    failed = [cell for cell in summary["cells"] if cell["verdict"] in WITHOUT_CLAIM]
    assert resumed.status == (1 if failed else 0)
    report = commands.run("report", folder)
    assert report.out.strip() == resumed.out.partition("All of it is in")[0].strip()


def shorten(folder: Path, rounds: int) -> None:
    """Let the rest of a run be short, which was long enough not to end before it was interrupted."""
    plan = json.loads((folder / "plan.json").read_text())
    for cell in plan["cells"]:
        cell["schedule"]["rounds"] = rounds
    (folder / "plan.json").write_text(json.dumps(plan))


def slices_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "slices.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--workers", "1..N"], "'N' is not a number from 1 to 4096"),
        (["--workers", "2..1"], "'2..1' counts downwards; give 1..2"),
        (["--workers", "1,4096", "--concurrency", "1"], "--workers 4096: 4096 workers need 4096 CPUs"),
        (["--workers", "1,300"], "--concurrency 100: 300 workers with as many connections each are more than 20,000"),
        (["--budget", "0.1s"], "--budget 0.1s: "),
        (["--listen", "none"], "'none' is not one of shared, exclusive, reuseport, percpu"),
        (["--impls", "nginx", "--workloads", "proxy"], "nginx"),
        (["--resume", "nowhere", "--workers", "2"], "--workers: not beside --resume"),
        (["--resume", "nowhere"], "nowhere: not a folder of results"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    said = commands.run("scale", "--out", tmp_path, "--testbed", "loopback", *arguments)
    if "--resume" in arguments:
        said = commands.run("scale", *arguments)
    assert said.is_one_line_of_error, said.out + said.err
    assert named in said.err
    assert not list(tmp_path.iterdir())
