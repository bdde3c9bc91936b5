"""Intervals must hold the truth about as often as they claim, whatever the machine does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import stats
from harness.schema import Estimate

FIGURES = st.floats(min_value=1e-3, max_value=1e9)
ROUNDS = st.dictionaries(st.integers(min_value=0, max_value=60), FIGURES, min_size=2, max_size=40)


def bounds(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.value, estimate.high


def test_one_round_is_no_claim() -> None:
    assert stats.mean({0: 5.0}, stats.draws(1)) == Estimate()
    assert stats.ratio({1: 5.0, 2: 6.0}, {2: 5.0, 3: 5.0}, stats.draws(1)) == Estimate()


@given(figures=st.lists(FIGURES, min_size=2, max_size=30))
@settings(max_examples=50)
def test_a_mean_lies_within_its_interval(figures: list[float]) -> None:
    low, value, high = bounds(stats.mean(dict(enumerate(figures)), stats.draws(1)))
    assert 0.0 <= low <= value <= high
    assert value == pytest.approx(np.mean(figures))


@given(ours=ROUNDS, theirs=ROUNDS, drift=st.lists(st.floats(min_value=0.01, max_value=100.0), min_size=61, max_size=61))
@settings(max_examples=50)
def test_what_is_common_to_a_round_cancels(
    ours: dict[int, float], theirs: dict[int, float], drift: list[float]
) -> None:
    shared = {0: 1.0, 1: 2.0}
    ours, theirs = ours | shared, theirs | shared
    steady = stats.ratio(ours, theirs, stats.draws(1))
    drifting = stats.ratio(
        {n: figure * drift[n] for n, figure in ours.items()},
        {n: figure * drift[n] for n, figure in theirs.items()},
        stats.draws(1),
    )
    assert bounds(drifting) == pytest.approx(bounds(steady), rel=1e-6)


@given(ours=ROUNDS, theirs=ROUNDS)
@settings(max_examples=50)
def test_swapping_the_two_gives_the_inverse(ours: dict[int, float], theirs: dict[int, float]) -> None:
    shared = {0: 1.0, 1: 2.0}
    low, value, high = bounds(stats.ratio(ours | shared, theirs | shared, stats.draws(1)))
    back_low, back_value, back_high = bounds(stats.ratio(theirs | shared, ours | shared, stats.draws(1)))
    assert back_value == pytest.approx(1 / value)
    # The quantiles of a finite number of draws are not quite symmetric, so the logarithms of the bounds need not be.
    tolerance = 0.05 * (math.log(high) - math.log(low)) + 1e-9
    assert math.log(back_low) == pytest.approx(-math.log(high), abs=tolerance)
    assert math.log(back_high) == pytest.approx(-math.log(low), abs=tolerance)


def test_only_rounds_that_both_have_count() -> None:
    both = stats.ratio({1: 2.0, 2: 2.0, 3: 999.0}, {1: 1.0, 2: 1.0, 4: 999.0}, stats.draws(1))
    assert bounds(both) == pytest.approx((2.0, 2.0, 2.0))


def test_the_same_run_gives_the_same_figures() -> None:
    figures = list(np.random.default_rng(4).gamma(10, 10, 30))
    assert stats.mean(dict(enumerate(figures)), stats.draws(5, "a")) == stats.mean(
        dict(enumerate(figures)), stats.draws(5, "a")
    )
    assert stats.mean(dict(enumerate(figures)), stats.draws(5, "a")) != stats.mean(
        dict(enumerate(figures)), stats.draws(6, "a")
    )
    assert stats.mean(dict(enumerate(figures)), stats.draws(5, "a", "b")) != stats.mean(
        dict(enumerate(figures)), stats.draws(5, "ab")
    )


@pytest.mark.parametrize("truth", [1.0, 0.93])
@pytest.mark.parametrize("rounds", [2, 7, 8, 12, 40])
def test_the_interval_holds_the_truth_as_often_as_it_claims(truth: float, rounds: int) -> None:
    """The noise is lopsided and the drift several times as large; 300 runs tell 95 % to within 2.5 %."""
    rng = np.random.default_rng([rounds, round(truth * 100)])
    runs, held = 300, 0
    for run in range(runs):
        drift = np.exp(rng.normal(0.0, 0.3, rounds))
        ours = truth * drift * rng.gamma(100, 0.01, rounds)
        theirs = drift * rng.gamma(100, 0.01, rounds)
        found = stats.ratio(dict(enumerate(ours)), dict(enumerate(theirs)), stats.draws(run))
        held += found.holds(truth)
    assert 0.925 <= held / runs <= 0.985


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_the_interval_holds_the_truth_whether_processes_differ_or_not(spread: float) -> None:
    """A server that is started afresh is by ``spread`` faster or slower until the next start."""
    rounds, blocks, runs = 36, 6, 250
    rng = np.random.default_rng(round(spread * 1000))
    block_of = {n: n * blocks // rounds for n in range(rounds)}
    held = blind = 0
    for run in range(runs):
        own = rng.normal(0.0, spread, blocks)
        ours = {n: math.exp(own[block_of[n]] + rng.normal(0.0, 0.04)) for n in range(rounds)}
        theirs = {n: math.exp(rng.normal(0.0, 0.04)) for n in range(rounds)}
        held += stats.ratio(ours, theirs, stats.draws(run), block_of).holds(1.0)
        blind += stats.ratio(ours, theirs, stats.draws(run)).holds(1.0)
    assert 0.91 <= held / runs <= 0.99
    assert (blind / runs < 0.9) == bool(spread), "without the blocks it claims too much where they differ"


def test_blocks_never_narrow_an_interval_nor_move_it() -> None:
    rng = np.random.default_rng(11)
    for rounds in (4, 9, 30):
        ours = {n: math.exp(rng.normal(0.0, 0.03) + 0.1 * (n % 3)) for n in range(rounds)}
        theirs = dict.fromkeys(range(rounds), 1.0)
        plain = bounds(stats.ratio(ours, theirs, stats.draws(1)))
        assert bounds(stats.ratio(ours, theirs, stats.draws(1), dict.fromkeys(range(rounds), 7))) == plain
        low, value, high = bounds(stats.ratio(ours, theirs, stats.draws(1), {n: n % 3 for n in range(rounds)}))
        assert value == plain[1]
        assert low < plain[0]
        assert high > plain[2]


@pytest.mark.parametrize(
    "blocks", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]], ids=["one", "each round its own", "no difference"]
)
def test_no_difference_of_blocks_is_no_error(blocks: list[int]) -> None:
    assert stats.block_error(np.array([1.0, 3.0, 3.0, 1.0]), np.array(blocks)) == 0.0


def test_the_error_of_blocks_is_that_of_their_means_where_rounds_do_not_differ() -> None:
    figures, blocks = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0]), np.array([0, 0, 1, 1, 2, 2])
    assert stats.block_error(figures, blocks) == pytest.approx(1.0 / math.sqrt(3))


def test_more_rounds_narrow_the_interval_as_the_square_root() -> None:
    def width(rounds: int) -> float:
        rng = np.random.default_rng(rounds)
        noise = [dict(enumerate(np.exp(rng.normal(0.0, 0.05, rounds)))) for _ in range(2)]
        low, _, high = bounds(stats.ratio(noise[0], noise[1], stats.draws(1)))
        return high - low

    assert width(50) / width(800) == pytest.approx(4.0, rel=0.3)
    assert width(200) == pytest.approx(2 * 1.96 * 0.05 * math.sqrt(2 / 200), rel=0.2)
