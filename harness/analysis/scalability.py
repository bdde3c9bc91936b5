"""The Universal Scalability Law, fitted to throughputs against workers.

N. J. Gunther, "Guerrilla Capacity Planning" (2007), chapters 4 to 6: with N workers throughput is
lambda N / (1 + sigma (N - 1) + kappa N (N - 1)). Contention (sigma) bends the line to a bound, coherency (kappa) to a
peak. Multiplied out, N / X is linear in 1 / lambda, sigma / lambda and kappa / lambda, none of which can be negative:
so the fit is one of non-negative least squares, which has one solution and needs no first guess. Each point counts by
how well its share of a round's throughput is known.

In simulation (from 1 to 4, 8 or 24 workers, 12 to 63 rounds in 3 or 6 blocks, rounds that differ by 4 or 6 % and blocks
by 0 to 3 %; laws with sigma from 0 to 0.2 and kappa from 0 to 0.005; six settings, 200 runs of each) the intervals of
lambda, sigma, kappa and the throughput of 96 workers held the truth in 95 to 100 % of the runs, but for the throughput
under a law without contention and coherency, where it was 92 %.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis import stats
from harness.analysis.stats import ByRound
from harness.schema import Estimate, Extrapolation, ScalingLaw

FEWEST_POINTS = 4
"""Three points lie on a law of three parameters whatever they are."""
FEWEST_ROUNDS = stats.FEWEST_FOR_BOOTSTRAP
RESAMPLES = 1999
_LEAST_ERROR = 1e-4
"""No mean is known better than to a hundredth of a per cent; without noise all points count alike."""
_LEAST_INVERSE = 1e-6
"""Figures that no server has may be fitted best by a first worker without an end to its throughput."""

_Floats = NDArray[np.float64]


def fit(
    rates_rps: Mapping[int, ByRound],
    rng: np.random.Generator,
    blocks: Mapping[int, int] | None = None,
    extrapolate_to: Sequence[int] = (),
) -> ScalingLaw:
    """Fit the law to requests/s by workers and round, from the rounds that have all.

    Intervals are a bootstrap over these rounds; how far off its means are is widened as much as ``blocks`` widen the
    interval of the point that they widen most. Raises ValueError for fewer than FEWEST_POINTS or FEWEST_ROUNDS.
    """
    shared = sorted(frozenset.intersection(*(frozenset(by_round) for by_round in rates_rps.values())))
    if len(rates_rps) < FEWEST_POINTS or len(shared) < FEWEST_ROUNDS:
        raise ValueError(f"{len(rates_rps)} points in {len(shared)} rounds")
    workers = np.array(sorted(rates_rps), dtype=np.float64)
    logs = np.log([[rates_rps[int(n)][number] for n in workers] for number in shared])
    errors = _errors(logs)
    best = _Law.fitted(workers, logs.mean(axis=0), errors)
    wider = _widening(logs, [(blocks or {}).get(number, 0) for number in shared])
    drawn = [_Law.fitted(workers, means, errors) for means in _drawn_again(logs, wider, rng)]
    spread = _Spread(len(shared))
    kappa = spread.estimate(best.kappa, [law.kappa for law in drawn])
    has_peak = kappa.low is not None and kappa.low > 0
    deviations = np.exp(logs.mean(axis=0)) / best.rps(workers) - 1
    return ScalingLaw(
        lambda_rps=spread.estimate(best.lambda_rps, [law.lambda_rps for law in drawn]),
        sigma=spread.estimate(best.sigma, [law.sigma for law in drawn]),
        kappa=kappa,
        peak_workers=spread.estimate(best.peak, [law.peak for law in drawn], least=1.0) if has_peak else Estimate(),
        largest_deviation=float(np.abs(deviations).max()),
        extrapolations=tuple(
            Extrapolation(n, spread.estimate(float(best.rps(n)), [float(law.rps(n)) for law in drawn]))
            for n in extrapolate_to
        ),
    )


@dataclass(frozen=True, slots=True)
class _Law:
    lambda_rps: float
    sigma: float
    kappa: float

    @classmethod
    def fitted(cls, workers: _Floats, logs: _Floats, errors: _Floats) -> "_Law":
        """Fit to the means of logarithms, of which ``errors`` are the standard errors."""
        from scipy.optimize import nnls  # noqa: PLC0415  takes a second, which --help should not wait for

        # Relative to itself N / X is off by what log X is; the scale keeps the figures near 1.
        rates = np.exp(logs - logs[0])
        terms = np.stack([np.ones_like(workers), workers - 1, workers * (workers - 1)], axis=1)
        weights = rates / workers / errors
        (inverse, contention, coherency), _ = nnls(terms * weights[:, None], 1 / errors)
        inverse = max(inverse, _LEAST_INVERSE)
        return cls(float(np.exp(logs[0]) / inverse), float(contention / inverse), float(coherency / inverse))

    def rps(self, workers: "_Floats | float") -> _Floats:
        number = np.asarray(workers, dtype=np.float64)
        rps: _Floats = self.lambda_rps * number / (1 + self.sigma * (number - 1) + self.kappa * number * (number - 1))
        return rps

    @property
    def peak(self) -> float:
        """How many workers have the largest throughput; infinite where more always have more."""
        if self.sigma >= 1:
            return 1.0
        return max(1.0, math.sqrt((1 - self.sigma) / self.kappa)) if self.kappa else math.inf


@dataclass(frozen=True, slots=True)
class _Spread:
    """How far off a figure may be, as what was drawn again tells."""

    rounds: int

    def estimate(self, value: float, drawn: Sequence[float], least: float = 0.0) -> Estimate:
        beyond = (1 - stats.expanded_confidence(self.rounds)) / 2
        # Of the figures themselves: between one and an infinite one there is none.
        low, high = np.quantile(drawn, [beyond, 1 - beyond], method="inverted_cdf")
        low, high = max(least, min(value, float(low))), max(value, float(high))
        return Estimate(value, low, high) if math.isfinite(value + high) else Estimate()


def _drawn_again(logs: _Floats, wider: float, rng: np.random.Generator) -> Iterator[_Floats]:
    """Yield what the means might have been, as far off as blocks make them.

    They are widened here and not in the figures: a kappa that is held at 0 moves only with means that are far off.
    """
    means = logs.mean(axis=0)
    for _ in range(RESAMPLES):
        drawn = logs[rng.integers(len(logs), size=len(logs))].mean(axis=0)
        yield means + wider * (drawn - means)


def _errors(logs: _Floats) -> _Floats:
    """Return the standard error of each point's mean, beside what all points of a round have in common."""
    alone = logs - logs.mean(axis=1, keepdims=True)
    errors: _Floats = np.maximum(alone.std(axis=0, ddof=1) / math.sqrt(len(logs)), _LEAST_ERROR)
    return errors


def _widening(logs: _Floats, blocks: Sequence[int]) -> float:
    """Return by what factor the blocks widen the interval of the point that they widen most."""
    to_first = [logs[:, 0], *(logs[:, i] - logs[:, 0] for i in range(1, logs.shape[1]))]
    return max(stats.widening(figures, np.array(blocks)) for figures in to_first)
