"""Means and ratios with their 95 % intervals, taken over rounds.

The interval is a percentile bootstrap with Hesterberg's expansion ("What Teachers Should Know About the
Bootstrap", 2015): a plain percentile interval of n rounds is too narrow by about sqrt((n - 1) / n) and by
what separates Student's t from the normal distribution, so wider percentiles are read off. For the fewest
rounds Student's t itself is the better one. Without random numbers it is taken for any number of rounds: it
takes microseconds instead of tens of milliseconds, for what is shown while a run is under way.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.schema import Estimate

CONFIDENCE = 0.95
FEWEST_ROUNDS = 2
"""One figure says nothing about how far the next may lie from it."""
FEWEST_FOR_BOOTSTRAP = 8
"""In simulation six rounds hold the truth in 93 % of the runs, eight and more in 94 to 95; Student's t in 95."""
FEWEST_BLOCKS = 2
RESAMPLES = 4999
_DRAWS_AT_ONCE = 2_000_000  # bounds memory to some tens of megabytes
_LARGEST_LOG = 700.0  # e to a little more is no floating-point number

ByRound = Mapping[int, float]
"""A figure for each round that has one."""


def draws(seed: int, *names: str) -> np.random.Generator:
    """Return the random numbers for one figure: the same for the same run, whatever else is computed before it."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(names).encode())])


def mean(figures: ByRound, rng: np.random.Generator | None, blocks: Mapping[int, int] | None = None) -> Estimate:
    """Estimate the mean of figures that cannot be negative; no claim below FEWEST_ROUNDS. ``blocks``: as ``ratio``."""
    if len(figures) < FEWEST_ROUNDS:
        return Estimate()
    value, low, high = _interval_over(figures, rng, blocks)
    return Estimate(value, max(low, 0.0), high)


def ratio(
    numerators: ByRound,
    denominators: ByRound,
    rng: np.random.Generator | None,
    blocks: Mapping[int, int] | None = None,
) -> Estimate:
    """Estimate the ratio of positive figures from the rounds that have both.

    The mean is taken of the logarithms: what speeds up or slows down both in a round cancels, and
    swapping the two gives exactly the inverse. ``blocks`` tells which rounds were answered by the same processes;
    where blocks differ by more than their rounds explain, the interval is wider for it. In simulation (16 to 64 rounds
    in 2 to 8 blocks that differ by 0, 1 or 2 %, where rounds do by 6 %) it then holds the truth in 90 to 97 % of the
    runs.
    """
    shared = sorted(numerators.keys() & denominators.keys())
    if len(shared) < FEWEST_ROUNDS:
        return Estimate()
    logs = {n: math.log(numerators[n]) - math.log(denominators[n]) for n in shared}
    value, low, high = (math.exp(min(bound, _LARGEST_LOG)) for bound in _interval_over(logs, rng, blocks))
    return Estimate(value, low, high)


def _interval_over(
    by_round: ByRound, rng: np.random.Generator | None, blocks: Mapping[int, int] | None
) -> tuple[float, float, float]:
    """Return the mean and its interval, with what blocks add to it."""
    figures = np.array([by_round[n] for n in sorted(by_round)], dtype=np.float64)
    value, low, high = _interval(figures, rng)
    if blocks is None:
        return value, low, high
    wider = widening(figures, np.array([blocks.get(n, 0) for n in sorted(by_round)]))
    return value, value - wider * (value - low), value + wider * (high - value)


def widening(figures: NDArray[np.float64], blocks: NDArray[np.int64]) -> float:
    """Return by what factor the blocks make an interval of the mean wider.

    The errors of rounds and blocks are independent; Student's t for both together takes the degrees of freedom of
    Satterthwaite ("An Approximate Distribution of Estimates of Variance Components", 1946).
    """
    between = block_error(figures, blocks)
    within = float(figures.std(ddof=1)) / math.sqrt(len(figures))
    if not between or not within:
        return 1.0
    weights = within**4 / (len(figures) - 1) + between**4 / (len(np.unique(blocks)) - 1)
    freedom = (within**2 + between**2) ** 2 / weights
    return _student(freedom) * math.hypot(within, between) / (_student(len(figures) - 1) * within)


def block_error(figures: NDArray[np.float64], blocks: NDArray[np.int64]) -> float:
    """Return the standard error of the mean that comes from what blocks differ by, beyond what their rounds explain.

    The variance between blocks is that of the analysis of variance with random effects (Searle, Casella and McCulloch,
    "Variance Components", 1992, 3.6), 0 where it is negative.
    """
    names, sizes = np.unique(blocks, return_counts=True)
    total, count = len(figures), len(names)
    if count < FEWEST_BLOCKS or total <= count:
        return 0.0
    means = np.array([figures[blocks == name].mean() for name in names])
    within = sum(float(((figures[blocks == name] - mean) ** 2).sum()) for name, mean in zip(names, means, strict=True))
    between = float((sizes * (means - figures.mean()) ** 2).sum())
    squares = float((sizes**2).sum())
    typical_size = (total - squares / total) / (count - 1)
    variance = (between / (count - 1) - within / (total - count)) / typical_size
    return math.sqrt(max(0.0, variance) * squares) / total


def _interval(figures: NDArray[np.float64], rng: np.random.Generator | None) -> tuple[float, float, float]:
    """Return the mean and its interval."""
    value = float(figures.mean())
    if rng is None or len(figures) < FEWEST_FOR_BOOTSTRAP:
        half = _student(len(figures) - 1) * float(figures.std(ddof=1)) / math.sqrt(len(figures))
        return value, value - half, value + half
    from scipy.stats import bootstrap  # noqa: PLC0415  takes a second, which --help should not wait for

    found = bootstrap(
        (figures,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _DRAWS_AT_ONCE // len(figures)),
        confidence_level=expanded_confidence(len(figures)),
        method="percentile",
        rng=rng,
    ).confidence_interval
    # Rounding can push the bound of equal figures past their mean.
    return value, min(float(found.low), value), max(float(found.high), value)


def _student(freedom: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415  takes a third of a second, which --help should not wait for

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def get_ready() -> None:
    """Load now what the first interval takes a third of a second to load."""
    _student(1.0)


def expanded_confidence(rounds: int) -> float:
    """Return which percentile interval of a bootstrap over so few rounds is one of CONFIDENCE (Hesterberg)."""
    return math.erf(math.sqrt(rounds / (rounds - 1)) * _student(rounds - 1) / math.sqrt(2))
