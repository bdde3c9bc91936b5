"""The rate of a slice must not depend on how a server bunches its answers, nor on the ramp."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.analysis.window import FEWEST_REQUESTS, Window, window

START_NS = 123_456_789_000
SLICE_S = 0.05
SLICE_NS = 50_000_000


def at(times_s: NDArray[np.floating[Any]]) -> NDArray[np.uint64]:
    return (START_NS + times_s * 1e9).astype(np.uint64)


def rate_rps(found: Window) -> float:
    return found.requests / found.duration_ns * 1e9


def test_a_steady_server_has_its_rate_exactly() -> None:
    found = window(at(np.arange(1, 700) * 1e-4), START_NS, SLICE_S, 50)
    assert rate_rps(found) == pytest.approx(10_000)
    assert found.ramp_end_ns == START_NS + SLICE_NS // 5
    assert found.requests == 400


def test_the_ramp_lasts_until_every_connection_had_a_turn() -> None:
    slow_start = np.concatenate([np.linspace(0.001, 0.024, 100), 0.025 + np.arange(250) * 1e-4])
    found = window(at(slow_start), START_NS, SLICE_S, 100)
    assert found.ramp_end_ns == START_NS + SLICE_NS // 2
    assert rate_rps(found) == pytest.approx(10_000, rel=0.05)


def test_what_comes_after_the_end_does_not_count() -> None:
    times = np.arange(1, 700) * 1e-4
    drained = np.concatenate([times, np.full(300, 0.0701)])
    assert window(at(drained), START_NS, SLICE_S, 50) == window(at(times), START_NS, SLICE_S, 50)


@pytest.mark.parametrize(
    ("times_s", "concurrency"),
    [
        (np.empty(0), 1),
        (np.arange(1, 100) * 1e-4, 100),
        (np.linspace(0.001, 0.049, FEWEST_REQUESTS), 1),
        (np.full(1000, 0.02), 1),
        (np.repeat([0.001, 0.02, 0.04], 100), 1),
        (0.06 + np.arange(500) * 1e-4, 10),
    ],
    ids=["nothing", "fewer than connections", "too few", "all at once", "three bunches", "all after the end"],
)
def test_no_rate_is_told_from_too_little(times_s: NDArray[np.float64], concurrency: int) -> None:
    found = window(at(times_s), START_NS, SLICE_S, concurrency)
    assert (found.requests, found.duration_ns) == (0, 0)
    assert START_NS < found.ramp_end_ns <= START_NS + SLICE_NS


def test_a_slice_with_one_long_stall_is_kept() -> None:
    times = np.arange(1, 600) * 1e-4
    stalled = np.where(times > 0.02, times + 0.015, times)
    found = window(at(stalled), START_NS, SLICE_S, 50)
    assert rate_rps(found) == pytest.approx(10_000 * 25 / 40, rel=0.01)


@pytest.mark.parametrize("bunch", [1, 8, 32, 64])
@pytest.mark.parametrize("tail", [0.05, 0.5])
def test_bunches_are_neither_favoured_nor_punished(bunch: int, tail: float) -> None:
    """``tail`` is the part of the time between bunches that one takes; their phase is random, as is their distance."""
    rng = np.random.default_rng([bunch, round(tail * 100)])
    rate, found = 12_000.0, []
    for _ in range(400):
        period = bunch / rate
        begins = rng.uniform(0.0, period) + np.cumsum(period * rng.uniform(0.8, 1.2, round(0.08 / period)))
        times = (begins[:, None] + np.arange(bunch) * tail * period / bunch).ravel()
        one = window(at(times), START_NS, SLICE_S, 100)
        assert one.requests
        found.append(rate_rps(one))
    assert np.exp(np.mean(np.log(found))) == pytest.approx(rate, rel=0.015)


@given(
    times_s=st.lists(st.floats(min_value=0.0, max_value=0.1), max_size=300),
    concurrency=st.integers(min_value=1, max_value=50),
    seed=st.integers(min_value=0, max_value=9),
)
@settings(max_examples=200)
def test_any_times_in_any_order(times_s: list[float], concurrency: int, seed: int) -> None:
    times = at(np.array(times_s, dtype=np.float64))
    found = window(times, START_NS, SLICE_S, concurrency)
    assert window(np.random.default_rng(seed).permutation(times), START_NS, SLICE_S, concurrency) == found
    assert START_NS + SLICE_NS // 5 <= found.ramp_end_ns <= START_NS + SLICE_NS
    assert (found.requests == 0) == (found.duration_ns == 0)
    assert found.requests == 0 or FEWEST_REQUESTS <= found.requests < len(times)
    assert found.duration_ns <= SLICE_NS
