"""The lines that a server prints every second."""

from impls import counters
from impls.statistics import Statistics


def test_figures_are_those_of_the_last_interval() -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (3, 4), verbose=False)
    rows[0][counters.REQUESTS] += 10
    rows[1][counters.REQUESTS] += 5
    assert list(statistics.lines()) == ["Request/s 15"]
    rows[1][counters.REQUESTS] += 7
    assert list(statistics.lines()) == ["Request/s 7"]
    assert list(statistics.lines()) == ["Request/s 0"]


def test_verbose_lines_precede_the_total() -> None:
    *rows, own = counters.rows(3)
    statistics = Statistics(rows, own, (3, 4), verbose=True)
    rows[0][counters.REQUESTS] += 6
    rows[0][counters.ACCEPTED] += 2
    for events in (1, 0, 5):
        counters.record_poll(rows[0], events)
    rows[0][counters.ERROR_BACKEND_TIMEOUT] += 1
    rows[0][counters.SAMPLED_ACCEPTS] += 4
    rows[0][counters.LOCAL_ACCEPTS] += 3
    rows[0][counters.SAMPLED_BACKENDS] += 2
    rows[0][counters.LOCAL_BACKENDS] += 1
    first, second, total = statistics.lines()
    assert first == (
        "worker 0 cpu 3 requests 6 accepted 2 events/poll 1/3.0/5 empty_polls 1 "
        "local_accepts 3/4 local_backends 1/2 errors "
        "accept=0 read=0 write=0 backend_refused=0 backend_timeout=1 backend_broken=0 "
        "backend_out=0 no_backend=0 idle=0 full=0 log=0 restarts=0"
    )
    assert second.startswith(
        "worker 1 cpu 4 requests 0 accepted 0 events/poll -/-/- empty_polls 0 "
        "local_accepts 0/0 local_backends 0/0 errors "
    )
    assert total == "Request/s 6"


def test_minimum_and_maximum_begin_anew_each_interval() -> None:
    *rows, own = counters.rows(2)
    statistics = Statistics(rows, own, (0,), verbose=True)
    counters.record_poll(rows[0], 1)
    counters.record_poll(rows[0], 64)
    list(statistics.lines())
    counters.record_poll(rows[0], 7)
    line, _ = statistics.lines()
    assert "events/poll 7/7.0/7 " in line
