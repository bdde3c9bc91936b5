"""What is read of the lines that workers write once a second."""

from pathlib import Path

import pytest

from harness.worker_statistics import AcceptedConnections
from impls import counters
from impls.statistics import Statistics


@pytest.fixture
def stderr(tmp_path: Path) -> Path:
    path = tmp_path / "server.err"
    path.touch()
    return path


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def line(worker: int, accepted: int) -> str:
    return f"worker {worker} cpu {worker} requests 9 accepted {accepted} events/poll 1/1.0/1 empty_polls 0 errors a=0\n"


def test_connections_of_each_worker_are_added_up_since_the_last_call(stderr: Path) -> None:
    accepted = AcceptedConnections(stderr, 3)
    add(stderr, "impls.x: server\n" + line(0, 5) + line(1, 7) + line(2, 0) + "Request/s 27\n" + line(0, 1))
    assert accepted() == [6, 7, 0]
    add(stderr, line(2, 4))
    assert accepted() == [0, 0, 4]


def test_nothing_told_is_an_empty_list(stderr: Path) -> None:
    accepted = AcceptedConnections(stderr, 2)
    assert accepted() == []
    add(stderr, line(0, 5))
    assert accepted() == [5, 0]
    assert accepted() == []
    add(stderr, line(0, 0) + line(1, 0) + "Request/s 0\n")
    assert accepted() == []


@pytest.mark.parametrize("at", [0, 8, 40, len(line(1, 12345)) - 1])
def test_a_line_under_way_counts_once_and_when_it_is_whole(stderr: Path, at: int) -> None:
    accepted = AcceptedConnections(stderr, 2)
    torn = line(1, 12345)
    add(stderr, line(0, 5) + torn[:at])
    assert accepted() == [5, 0]
    assert accepted() == []
    add(stderr, torn[at:])
    assert accepted() == [0, 12345]


def test_a_worker_that_there_should_not_be_is_left_out(stderr: Path) -> None:
    add(stderr, line(0, 5) + line(7, 3))
    assert AcceptedConnections(stderr, 1)() == [5]


def test_what_servers_write_is_read(stderr: Path) -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (3, 4), verbose=True)
    rows[0][counters.ACCEPTED] += 6
    rows[1][counters.ACCEPTED] += 2
    add(stderr, "".join(f"{text}\n" for text in statistics.lines()))
    assert AcceptedConnections(stderr, 2)() == [6, 2]


@pytest.mark.parametrize("slot", [counters.REQUESTS, counters.ACCEPTED, counters.ERROR_IDLE, counters.ERROR_RESTARTS])
def test_what_was_counted_last_is_told_in_the_end(slot: int) -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (0, 1), verbose=True)
    assert list(statistics.rest()) == []
    rows[1][slot] += 1
    assert len(list(statistics.rest())) == 3
    assert list(statistics.rest()) == []


def test_without_workers_lines_a_last_total_is_for_requests_alone() -> None:
    row, own = counters.rows(2)
    statistics = Statistics([row], own, (0,), verbose=False)
    row[counters.ERROR_IDLE] += 1
    assert list(statistics.rest()) == []
    row[counters.REQUESTS] += 1
    assert list(statistics.rest()) == ["Request/s 1"]


def test_errors_of_the_parent_are_in_the_line_of_its_first_worker() -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (0, 1), verbose=True)
    own[counters.ERROR_LOG] += 2
    rows[0][counters.ERROR_LOG] += 1
    first, second, _ = statistics.rest()
    assert "log=3" in first
    assert "log=0" in second
    assert list(statistics.rest()) == []
    assert "log=0" in next(statistics.lines())
