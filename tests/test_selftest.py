"""The self test: what counts as missed, that it is told, and that faults are planted as they are said to be."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from harness import ports
from harness.analysis import verdicts
from harness.conformance import sock_diag
from harness.registry import Implementation
from harness.report import selftest as report
from harness.schema import Cell, Estimate, PlannedCell
from harness.selftest import Request, coverage, difference, limits, selftest, tampered
from harness.selftest.coverage import Coverage
from harness.selftest.difference import Difference, TimeToTell
from harness.selftest.experiment import PLAIN
from harness.selftest.experiment import tampered as plant
from harness.selftest.limits import Limit
from harness.servers import Server
from harness.testbed import open_testbed, placement
from harness.testbed.placement import Cpus

ONE = Estimate(1.0, 0.98, 1.02)
LOWER, HIGHER = Estimate(0.9, 0.88, 0.92), Estimate(1.1, 1.08, 1.12)
NAMED = Limit("a low rate", verdicts.UNSATURATED, verdicts.UNSATURATED, "server CPU 0 busy 5 %")
MISNAMED = Limit("a slow backend", verdicts.BACKEND_BOUND, verdicts.NOISY, "too few rounds")
UNTRIED = Limit("too few ports", verdicts.PORT_BOUND, "", "not tried: on loopback")


def place(cell: Cell) -> PlannedCell:
    return placement.place(cell, sorted(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("runs", "fewest"), [(1, 0), (10, 7), (40, 34), (100, 89), (1000, 933)])
def test_so_many_intervals_must_hold_that_a_right_harness_fails_once_in_a_hundred(runs: int, fewest: int) -> None:
    assert Coverage("x", fewest, runs, 0.02).fewest == fewest
    assert Coverage("x", fewest, runs, 0.02).is_as_claimed
    assert not Coverage("x", fewest - 1, runs, 0.02).is_as_claimed


def test_an_interval_that_is_none_does_not_hold() -> None:
    found = [dict.fromkeys(coverage.FIGURES, estimate) for estimate in (ONE, HIGHER, Estimate())]
    for one in coverage.sum_up(found):
        assert (one.held, one.runs) == (1, 3)
        assert one.mean_half_width == pytest.approx((0.02 + 0.02 / 1.1) / 2)
    assert [one.figure for one in coverage.sum_up(found)] == list(coverage.FIGURES)
    assert coverage.sum_up([dict.fromkeys(coverage.FIGURES, Estimate())])[0].mean_half_width == 0.0


@pytest.mark.parametrize(
    ("found", "more_is_worse", "right"),
    [
        (LOWER, False, True),
        (HIGHER, True, True),
        (LOWER, True, False),
        (HIGHER, False, False),
        (ONE, False, False),
        (ONE, True, False),
        (Estimate(), False, False),
        (Estimate(), True, False),
    ],
)
def test_a_difference_is_found_when_all_of_the_interval_is_on_its_side(
    found: Estimate,
    more_is_worse: bool,  # noqa: FBT001  a row of the table, as the next
    right: bool,  # noqa: FBT001
) -> None:
    planted = Difference(10, "x", found, more_is_worse)
    assert planted.has_right_sign is right
    assert planted.expected == pytest.approx(1.1 if more_is_worse else 1 / 1.1)


def test_a_limit_is_named_by_its_own_verdict_only() -> None:
    assert NAMED.is_named
    assert not MISNAMED.is_named
    assert not UNTRIED.is_named


def test_tables_tell_what_was_missed() -> None:
    table = report.coverage([Coverage("requests/s", 38, 40, 0.021), Coverage("CPU per request", 30, 40, 0.021)])
    [good, bad] = [line.split() for line in table.splitlines() if " 40 " in line]
    assert (good[-1], bad[-1]) == ("ok", "MISSED")
    assert "34" in good
    assert report.ratios({"requests/s": ONE, "CPU": Estimate()}).startswith("requests/s 1.000 (0.980")

    text = report.differences(
        [Difference(3, "requests/s", LOWER, more_is_worse=False), Difference(3, "CPU", LOWER, more_is_worse=True)],
        [TimeToTell("requests/s", 12.4), TimeToTell("CPU", None)],
    )
    [good, bad] = [line.split() for line in text.splitlines() if "3 % more CPU time" in line]
    assert ("0.971" in good, good[-1], bad[-1]) == (True, "ok", "MISSED")
    assert "  3 % apart, a pair: told by requests/s after 12 s, servers' starts included" in text
    assert "  3 % apart, a pair: NOT told by CPU" in text

    text = report.limits([NAMED, MISNAMED, UNTRIED])
    table = text[: text.index("a low rate: ")]
    [good, bad, untried] = [line.split() for line in table.splitlines() if line.startswith(("a ", "too "))]
    assert (good[-1], bad[-1]) == ("ok", "MISSED")
    assert "MISSED" not in untried
    assert "  too few ports: not tried: on loopback" in text


@pytest.mark.parametrize(
    ("held", "found", "seconds", "limit", "kept"),
    [
        (ONE, HIGHER, 5.0, NAMED, True),
        (ONE, HIGHER, 5.0, UNTRIED, True),
        (HIGHER, HIGHER, 5.0, NAMED, False),
        (ONE, ONE, 5.0, NAMED, False),
        (ONE, HIGHER, None, NAMED, False),
        (ONE, HIGHER, 5.0, MISNAMED, False),
    ],
)
def test_whatever_is_missed_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    held: Estimate,
    found: Estimate,
    seconds: float | None,
    limit: Limit,
    kept: bool,  # noqa: FBT001  a row of the table
) -> None:
    differences = [Difference(3, "CPU", found, more_is_worse=True)]
    monkeypatch.setattr(coverage, "runs", lambda *_: iter([dict.fromkeys(coverage.FIGURES, held)] * 10))
    monkeypatch.setattr(difference, "find_hardest", lambda *_: (list(differences), [TimeToTell("CPU", seconds)]))
    monkeypatch.setattr(difference, "find_easier", lambda *_: list(differences))
    monkeypatch.setattr(limits, "find_all", lambda *_: iter([limit]))
    output = Console(file=io.StringIO(), width=200)
    request = Request(parts=("same", "difference", "limits"), runs=10, testbed="loopback", cpus=Cpus(), seed=1)
    assert selftest(request, output, Console(file=io.StringIO())) is kept
    assert isinstance(output.file, io.StringIO)
    printed = output.file.getvalue()
    assert printed.count("\n\nNothing was missed.") == kept
    assert ("Something was missed" in printed) is not kept
    assert ("MISSED" in printed or "NOT told" in printed) is not kept
    for title in ("THE SAME SERVER TWICE", "PLANTED DIFFERENCES", "PLANTED LIMITS"):
        assert title in printed


@pytest.mark.usefixtures("drops_do_not_count")
def test_a_planted_limit_is_measured_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUDGET_S", 0.5)
    planted = limits._Planted(
        cause="one CPU", expected=verdicts.SHARED_CPUS, cell=Cell("short", 1, 10), on_one_cpu=True
    )
    with open_testbed("loopback", with_backend=False) as testbed:
        found = limits._find(planted, testbed, place, seed=1)
        untried = limits._with_few_ports(testbed, place, seed=1)
    assert (found.cause, found.found, found.is_named) == ("one CPU", verdicts.SHARED_CPUS, True)
    assert found.evidence.startswith("server and client share CPU ")
    assert untried.found == ""


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[[Implementation], Server]]:
    """Start a server that answers; it ends with the test."""
    with ports.reserve("127.0.0.1") as address:
        servers: list[Server] = []

        def start(implementation: Implementation) -> Server:
            server = Server(implementation, ["-w", "1"], [address], tmp_path, implementation.name)
            servers.append(server)
            server.start()
            server.wait_ready()
            return server

        yield start
        for server in servers:
            server.stop()


def test_a_slower_server_answers_as_the_plain_one_does(serving: Callable[[Implementation], Server]) -> None:
    replies = set()
    for implementation in (PLAIN, plant("slower", "slower", 300)):
        server = serving(implementation)
        replies |= {server.sample_reply() for _ in range(50)}
        assert not server.died
        assert server.stop() == 0
    assert len(replies) == 1


def test_a_small_backlog_is_small(serving: Callable[[Implementation], Server]) -> None:
    lengths = []
    for implementation in (PLAIN, plant("small", "backlog", limits.SMALL_BACKLOG)):
        server = serving(implementation)
        assert server.sample_reply().startswith(b"HTTP/1.0 200 OK\r\n")
        listener = sock_diag.find_listener(ports.split(server.listen[0]))
        assert listener is not None
        lengths.append(listener.send_queue)
        server.stop()
    assert lengths[1] == limits.SMALL_BACKLOG < lengths[0]


def test_work_is_as_long_as_it_was_asked_for() -> None:
    assert tampered._spin(2_000_000) >= 2_000_000
    assert tampered._spin(0) == tampered._spin(-5) == 0
