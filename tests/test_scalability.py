"""The Universal Scalability Law, fitted to figures that were made from it."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import scalability
from harness.analysis.scalability import fit
from harness.schema import Estimate, ScalingLaw

WORKERS = (1, 2, 4, 8, 16, 24)
LAMBDA = 15_000.0
Law = tuple[float, float]
"""Sigma and kappa."""
LAWS: Sequence[Law] = [(0.0, 0.0), (0.03, 0.0), (0.0, 0.001), (0.03, 0.0005), (0.2, 0.002)]


@pytest.fixture(autouse=True, scope="module")
def _fewer_resamples() -> Iterator[None]:
    """Draw fewer than a report does, which takes a fraction of a second for each law."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scalability, "RESAMPLES", 299)
        yield


def rps(workers: int, law: Law) -> float:
    sigma, kappa = law
    return LAMBDA * workers / (1 + sigma * (workers - 1) + kappa * workers * (workers - 1))


def measured(
    law: Law, seed: int = 1, *, noise: float = 0.04, drift: float = 0.3, rounds: int = 40
) -> dict[int, dict[int, float]]:
    """Make requests/s by workers and round; ``drift`` is common to a round."""
    rng = np.random.default_rng(seed)
    speeds = np.exp(rng.normal(0.0, drift, rounds))
    return {
        workers: {
            number: float(rps(workers, law) * speed * np.exp(rng.normal(0.0, noise)))
            for number, speed in enumerate(speeds)
        }
        for workers in WORKERS
    }


def fitted(rates_rps: Mapping[int, Mapping[int, float]], blocks: Mapping[int, int] | None = None) -> ScalingLaw:
    return fit(rates_rps, np.random.default_rng(7), blocks, [96])


@pytest.mark.parametrize("law", LAWS)
def test_what_a_law_was_made_of_is_found_whatever_the_machine_does_from_round_to_round(law: Law) -> None:
    found = fitted(measured(law))
    assert found.sigma.value == pytest.approx(law[0], abs=0.006)
    assert found.kappa.value == pytest.approx(law[1], abs=0.0003)
    assert found.sigma.holds(law[0])
    assert found.kappa.holds(law[1])
    assert found.sigma.high is not None
    assert found.kappa.high is not None
    assert found.sigma.high < law[0] + 0.02, "and the interval says something"
    assert found.kappa.high < law[1] + 0.001
    assert found.largest_deviation < 0.02
    [beyond] = found.extrapolations
    assert beyond.workers == 96
    assert beyond.throughput_rps.value == pytest.approx(rps(96, law), rel=0.25)


def test_without_noise_it_is_exact() -> None:
    found = fitted(measured((0.05, 0.001), noise=0.0, drift=0.0))
    for estimate, truth in ((found.lambda_rps, LAMBDA), (found.sigma, 0.05), (found.kappa, 0.001)):
        assert [estimate.low, estimate.value, estimate.high] == pytest.approx([truth] * 3, rel=1e-4)
    assert found.peak_workers.value == pytest.approx((0.95 / 0.001) ** 0.5, rel=1e-4)
    assert found.extrapolations[0].throughput_rps.value == pytest.approx(rps(96, (0.05, 0.001)), rel=1e-4)
    assert found.largest_deviation == pytest.approx(0.0, abs=1e-4)


def test_a_peak_is_told_only_where_it_is_shown() -> None:
    assert fitted(measured((0.05, 0.0))).peak_workers == Estimate()
    assert fitted(measured((0.0, 0.0), noise=0.0)).peak_workers == Estimate()
    assert fitted(measured((0.05, 0.002))).peak_workers.holds((0.95 / 0.002) ** 0.5)


def test_intervals_hold_the_truth_as_often_as_they_claim() -> None:
    runs = [fitted(measured((0.03, 0.0005), seed)) for seed in range(40)]
    for held in (
        sum(one.lambda_rps.holds(LAMBDA) for one in runs),
        sum(one.sigma.holds(0.03) for one in runs),
        sum(one.kappa.holds(0.0005) for one in runs),
        sum(one.extrapolations[0].throughput_rps.holds(rps(96, (0.03, 0.0005))) for one in runs),
    ):
        assert held >= 36


def test_intervals_hold_the_truth_where_blocks_differ_and_few_workers_were_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scalability, "RESAMPLES", 199)
    law = (0.05, 0.001)
    blocks = {number: number * 6 // 20 for number in range(20)}
    held = {"sigma": 0, "kappa": 0, "beyond": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rates_rps = {
            n: {
                number: rps(n, law) * np.exp(of_block[block] + rng.normal(0.0, 0.04))
                for number, block in blocks.items()
            }
            for n, of_block in ((n, rng.normal(0.0, 0.03, 6)) for n in (1, 2, 3, 4))
        }
        found = fitted(rates_rps, blocks)
        held["sigma"] += found.sigma.holds(law[0])
        held["kappa"] += found.kappa.holds(law[1])
        held["beyond"] += found.extrapolations[0].throughput_rps.holds(rps(96, law))
    assert min(held.values()) >= 55, held


def test_blocks_that_differ_make_intervals_wider() -> None:
    rates_rps = measured((0.03, 0.0005))
    blocks = {number: number // 10 for number in range(40)}
    lucky = {
        n: {number: rate * (1.1 if blocks[number] % 2 else 1) for number, rate in rates_rps[n].items()} for n in (8,)
    }
    plain, wider = fitted({**rates_rps, **lucky}), fitted({**rates_rps, **lucky}, blocks)
    assert plain.sigma.half_width_share is not None
    assert wider.sigma.half_width_share is not None
    assert wider.sigma.half_width_share > 1.2 * plain.sigma.half_width_share


def test_what_no_law_explains_is_far_from_the_one_that_is_fitted() -> None:
    superlinear = {n: dict.fromkeys(range(10), LAMBDA * n**1.3) for n in WORKERS}
    found = fitted(superlinear)
    assert (found.sigma.value, found.kappa.value) == (0.0, 0.0)
    assert found.largest_deviation > 0.2


def test_only_rounds_with_all_points_count() -> None:
    rates_rps = measured((0.03, 0.0005))
    rates_rps[24][40] = 1.0
    assert fitted(rates_rps) == fitted(measured((0.03, 0.0005)))


@pytest.mark.parametrize(("points", "rounds"), [(3, 40), (4, 7)])
def test_too_few_points_or_rounds_are_refused(points: int, rounds: int) -> None:
    rates_rps = measured((0.03, 0.0005), rounds=rounds)
    with pytest.raises(ValueError, match=f"{points} points in {rounds} rounds"):
        fitted({n: rates_rps[n] for n in WORKERS[:points]})


@given(
    figures=st.lists(
        st.lists(st.floats(1e-3, 1e9), min_size=8, max_size=8), min_size=scalability.FEWEST_POINTS, max_size=6
    )
)
@settings(max_examples=25)
def test_any_figures_give_a_law_that_can_be_stored(figures: list[list[float]]) -> None:
    found = fitted({n + 1: dict(enumerate(of_point)) for n, of_point in enumerate(figures)})
    assert msgspec.json.decode(msgspec.json.encode(found), type=ScalingLaw) == found
    for estimate in (found.lambda_rps, found.sigma, found.kappa):
        assert estimate.holds(estimate.value or 0.0)
        assert estimate.low is not None
        assert estimate.low >= 0
