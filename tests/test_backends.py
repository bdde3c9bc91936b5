"""Which backend is tried when: round robin, rests and trials, by a clock that the test moves."""

from dataclasses import dataclass

from impls import counters
from impls.backends import Backends

REST_S, CONNECT_S = 10.0, 3.0


@dataclass
class Clock:
    """Stands still but for the test."""

    now_s: float = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def made(names: str) -> tuple[Backends[str], Clock, memoryview]:
    clock = Clock()
    row = memoryview(bytearray(8 * 64)).cast("q")
    return Backends(names, REST_S, CONNECT_S, row, clock), clock, row


def test_one_that_failed_is_left_out_for_its_rest() -> None:
    backends, clock, row = made("ab")
    backends.failed("a")
    clock.now_s += REST_S - 1
    backends.failed("a")  # by one that began to connect before
    assert {backends.turn() for _ in range(4)} == {("b",)}
    assert row[counters.ERROR_BACKEND_OUT] == 1


def test_after_its_rest_one_connection_tries_it_and_the_others_do_without() -> None:
    backends, clock, _ = made("ab")
    backends.failed("a")
    clock.now_s += REST_S
    turns = [backends.turn() for _ in range(6)]
    assert turns.count(("a", "b")) == 1
    assert {*turns[turns.index(("a", "b")) + 1 :]} == {("b",)}


def test_one_that_accepts_on_trial_has_its_turns_again() -> None:
    backends, clock, _ = made("ab")
    backends.failed("a")
    clock.now_s += REST_S
    assert backends.turn() == ("a", "b")
    backends.accepted("a")
    assert not backends.on_trial
    assert [backends.turn() for _ in range(4)] == [("b", "a"), ("a", "b")] * 2


def test_one_that_fails_on_trial_rests_again() -> None:
    backends, clock, row = made("a")
    backends.failed("a")
    clock.now_s += REST_S
    assert [backends.turn(), backends.turn()] == [("a",), ()]
    backends.failed("a")
    clock.now_s += REST_S - 1
    assert backends.turn() == ()
    clock.now_s += 1
    assert [backends.turn(), backends.turn()] == [("a",), ()]
    assert (row[counters.ERROR_BACKEND_OUT], row[counters.ERROR_NO_BACKEND]) == (2, 3)


def test_a_trial_that_nobody_ends_is_over_soon_after_the_time_to_connect() -> None:
    backends, clock, _ = made("a")
    backends.failed("a")
    clock.now_s += REST_S
    assert backends.turn() == ("a",)
    clock.now_s += CONNECT_S
    assert backends.turn() == ()
    clock.now_s += 1
    assert backends.turn() == ("a",)


def test_a_trial_that_is_given_up_goes_to_the_next_connection() -> None:
    backends, clock, _ = made("a")
    backends.failed("a")
    clock.now_s += REST_S
    assert [backends.turn(), backends.turn()] == [("a",), ()]
    backends.untried("a")
    assert [backends.turn(), backends.turn()] == [("a",), ()]


def test_one_whose_rest_is_over_comes_last_where_it_is_another_s_turn() -> None:
    backends, clock, _ = made("abc")
    backends.failed("c")
    clock.now_s += REST_S
    assert backends.turn() == ("a", "b", "c")
    assert not backends.on_trial
    assert backends.turn() == ("b", "a", "c")
    assert backends.turn() == ("c", "a", "b")
    assert backends.on_trial == {"c"}
