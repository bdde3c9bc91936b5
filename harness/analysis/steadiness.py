"""Whether the figures of a cell are steady enough for a claim."""

import math
from collections.abc import Sequence

import numpy as np

from harness.analysis import stats
from harness.analysis.series import Series
from harness.analysis.stats import ByRound

WIDEST_SHARE = 0.10
"""A ratio that is not known to this share of itself is noise, whatever limited the server."""
LARGEST_TREND_SHARE = 0.05
"""By how much the rounds of the first half may differ from those of the second."""
TREND_DEVIATIONS = 3.5
"""Only what lies so many standard errors apart is a trend: one cell in two thousand does by chance."""
FEWEST_FOR_TREND = 12


def why_unsteady(own: Series, reference: Series, *, quick: bool = False) -> str:
    """Say why the throughput of a server, as a ratio to the reference where there is one, is unsteady; empty if not.

    Without a reference a trend shows nothing: the machine's own speed has one. ``quick``: without random numbers, as in
    ``stats``.
    """
    if not reference.rates_rps or not own.rates_rps:
        return ""
    shared = sorted(own.rates_rps.keys() & reference.rates_rps.keys())
    logs = [math.log(own.rates_rps[n] / reference.rates_rps[n]) for n in shared]
    draws = None if quick else stats.draws(0, "steadiness")
    return _too_wide(own.rates_rps, reference.rates_rps, own, draws) or _trend(logs)


def _too_wide(own: ByRound, reference: ByRound, series: Series, draws: np.random.Generator | None) -> str:
    ratio = stats.ratio(own, reference, draws, series.blocks)
    width = ratio.half_width_share
    if width is None or width <= WIDEST_SHARE:
        return ""
    return f"the ratio to the reference is known to ± {width * 100:.0f} % only, after {len(own)} rounds"


def _trend(logs: Sequence[float]) -> str:
    if len(logs) < FEWEST_FOR_TREND:
        return ""
    first, second = np.array_split(np.asarray(logs), 2)
    change = float(second.mean() - first.mean())
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    if abs(change) < math.log1p(LARGEST_TREND_SHARE) or abs(change) < TREND_DEVIATIONS * error:
        return ""
    direction = "rose" if change > 0 else "fell"
    amount = abs(math.expm1(change)) * 100
    return f"the ratio to the reference {direction} by {amount:.0f} % from the first half of the rounds to the second"
