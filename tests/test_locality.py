"""Which connections are asked on whose CPU their packets arrive, and what a run tells of that."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import BadInput
from harness.registry import ROOT
from harness.testbed import open_testbed
from impls import counters, locality
from impls.locality import Sample
from impls.worker import Worker

MANY = 40_000
COMPARED_WITHIN_S = 300.0
NEARLY_ALL = 0.95
EVENLY = 0.1


class Recorded(Sample):
    """Keeps whom it would have asked."""

    def __init__(self) -> None:
        super().__init__(worker(), counters.LOCAL_ACCEPTS, counters.SAMPLED_ACCEPTS)
        self.asked: list[int] = []

    def _ask(self, fd: int) -> None:
        self.asked.append(fd)


def worker() -> Worker:
    [row] = counters.rows(1)
    return cast("Worker", SimpleNamespace(index=0, cpu=0, counters=row))


def asked_of(batches: Iterable[Sequence[int]]) -> list[int]:
    sample = Recorded()
    for batch in batches:
        sample.of(batch)
    return sample.asked


def test_one_in_sixteen_is_asked_and_none_twice() -> None:
    asked = asked_of([range(MANY)])
    assert len(asked) == len(set(asked)) == pytest.approx(MANY / locality.EVERY, rel=EVENLY)


def test_whom_is_asked_does_not_hang_on_how_they_come() -> None:
    for size in (1, 7, 64):
        batches = [range(first, min(first + size, MANY)) for first in range(0, MANY, size)]
        assert asked_of([[], *batches]) == asked_of([range(MANY)])


@pytest.mark.parametrize("turns", [2, 3, 8, 16, 31])
def test_what_comes_by_turns_is_asked_as_often_as_all(turns: int) -> None:
    asked = Counter(number % turns for number in asked_of([range(turns * MANY)]))
    assert len(asked) == turns
    assert all(count == pytest.approx(MANY / locality.EVERY, rel=EVENLY) for count in asked.values()), asked


def test_what_has_no_cpu_does_not_count() -> None:
    one = worker()
    sample = Sample(one, counters.LOCAL_ACCEPTS, counters.SAMPLED_ACCEPTS)
    near, far = socket.socketpair()  # of the family AF_UNIX, which no packet reaches
    with near, far:
        sample.of([near.fileno()] * 1000)
    sample.of([-1] * 1000)
    assert one.counters[counters.SAMPLED_ACCEPTS] == one.counters[counters.LOCAL_ACCEPTS] == 0


def test_a_listener_for_each_cpu_has_all_connections_local_and_a_shared_one_has_not(tmp_path: Path) -> None:
    skip_without_steering()
    command = [sys.executable, "-m", "tests.unchecked", "compare", "--impls", "epoll_raw", "--listen", "shared,percpu"]
    command += ["--workloads", "short", "--workers", "2", "--testbed", "netns", "--budget", "4s", "--blocks", "1"]
    subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, check=True, timeout=COMPARED_WITHIN_S
    )
    [folder] = tmp_path.iterdir()
    slices = [json.loads(line) for line in (folder / "slices.jsonl").read_text().splitlines()]
    assert share(slices, "epoll_raw+percpu") > NEARLY_ALL
    assert share(slices, "epoll_raw") < NEARLY_ALL - EVENLY
    for cell in json.loads((folder / "summary.json").read_text())["cells"]:
        # Null only where all was told in other slices than those of the load.
        told = cell["local_accept_share"]
        assert told is None or (told > NEARLY_ALL) == (cell["impl"] == "epoll_raw+percpu")


def share(slices: list[dict[str, Any]], impl: str) -> float:
    """Return the share of local connections in all slices of an implementation, of whatever phase."""
    told = [one for piece in slices if piece["impl"] == impl for one in piece["worker_local"]]
    return float(sum(one["local_accepts"] for one in told) / sum(one["sampled_accepts"] for one in told))


def skip_without_steering() -> None:
    """Skip the test where packets cannot be steered to two workers; in CI, where they must be, fail."""
    try:
        with open_testbed("netns", with_backend=False) as testbed:
            lacking = next((note for note in testbed.notes if note.startswith("no receive steering")), "")
    except BadInput as problem:
        lacking = str(problem)
    if len(os.sched_getaffinity(0)) == 1:
        lacking = "it takes two CPUs"
    if lacking and os.environ.get("CI"):
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
