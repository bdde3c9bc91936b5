"""What is read of the lines that workers write once a second."""

from pathlib import Path

import pytest

from harness.schema import WorkerLocality
from harness.worker_statistics import Told, WorkerStatistics
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


def line(worker: int, accepted: int, accepts: str = "0/0", backends: str = "0/0") -> str:
    return (
        f"worker {worker} cpu {worker} requests 9 accepted {accepted} events/poll 1/1.0/1 empty_polls 0 "
        f"local_accepts {accepts} local_backends {backends} errors a=0\n"
    )


def locality(accepts: tuple[int, int] = (0, 0), backends: tuple[int, int] = (0, 0)) -> WorkerLocality:
    return WorkerLocality(
        local_accepts=accepts[0],
        sampled_accepts=accepts[1],
        local_backends=backends[0],
        sampled_backends=backends[1],
    )


def test_connections_of_each_worker_are_added_up_since_the_last_call(stderr: Path) -> None:
    told = WorkerStatistics(stderr, 3)
    add(stderr, "impls.x: server\n" + line(0, 5) + line(1, 7) + line(2, 0) + "Request/s 27\n" + line(0, 1))
    assert told().accepted == [6, 7, 0]
    add(stderr, line(2, 4))
    assert told().accepted == [0, 0, 4]


def test_local_connections_of_each_worker_are_added_up_likewise(stderr: Path) -> None:
    told = WorkerStatistics(stderr, 2)
    add(stderr, line(0, 50, "3/4", "1/5") + line(1, 70) + line(0, 10, "0/1", "2/2"))
    assert told().local == [locality((3, 5), (3, 7)), locality()]
    add(stderr, line(1, 0, backends="0/9"))
    assert told() == Told([], [locality(), locality(backends=(0, 9))])


def test_a_server_that_tells_nothing_of_where_packets_arrive_tells_the_rest(stderr: Path) -> None:
    add(stderr, "worker 0 cpu 0 requests 9 accepted 5 events/poll 1/1.0/1 empty_polls 0 errors a=0\n")
    assert WorkerStatistics(stderr, 1)() == Told([5], [])


@pytest.mark.parametrize(("accepts", "backends"), [("5/4", "0/1"), ("0/1", "5/4"), ("9" * 5000 + "/9", "0/0")])
def test_more_local_connections_than_were_asked_are_left_out(stderr: Path, accepts: str, backends: str) -> None:
    add(stderr, line(0, 7, accepts, backends))
    assert WorkerStatistics(stderr, 1)() == Told([7], [])


def test_nothing_told_is_an_empty_list(stderr: Path) -> None:
    told = WorkerStatistics(stderr, 2)
    assert told() == Told()
    add(stderr, line(0, 5))
    assert told().accepted == [5, 0]
    assert told() == Told()
    add(stderr, line(0, 0) + line(1, 0) + "Request/s 0\n")
    assert told() == Told()


@pytest.mark.parametrize("at", [0, 8, 40, len(line(1, 12345)) - 1])
def test_a_line_under_way_counts_once_and_when_it_is_whole(stderr: Path, at: int) -> None:
    told = WorkerStatistics(stderr, 2)
    torn = line(1, 12345, "1/2")
    add(stderr, line(0, 5) + torn[:at])
    assert told() == Told([5, 0])
    assert told() == Told()
    add(stderr, torn[at:])
    assert told() == Told([0, 12345], [locality(), locality((1, 2))])


def test_a_worker_that_there_should_not_be_is_left_out(stderr: Path) -> None:
    add(stderr, line(0, 5) + line(7, 3, "1/1"))
    assert WorkerStatistics(stderr, 1)() == Told([5])


def test_what_servers_write_is_read(stderr: Path) -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (3, 4), verbose=True)
    rows[0][counters.ACCEPTED] += 6
    rows[1][counters.ACCEPTED] += 2
    counters.record_poll(rows[1], 2**60)  # as long as a line gets
    counts = ("SAMPLED_ACCEPTS", "LOCAL_ACCEPTS", "SAMPLED_BACKENDS", "LOCAL_BACKENDS")
    for count, slot in enumerate(counts):
        rows[1][getattr(counters, slot)] += 10 - count
    add(stderr, "".join(f"{text}\n" for text in statistics.lines()))
    assert WorkerStatistics(stderr, 2)() == Told([6, 2], [locality(), locality((9, 10), (7, 8))])


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
