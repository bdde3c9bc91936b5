"""The part of a slice that its rate is taken from."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RAMP_SHARE = 0.2
"""At least this share of a slice is dropped."""
FEWEST_REQUESTS = 10
"""The mean of a logarithm is off by about half the variance, which is 1/n for n events: 5 % here, less with more."""
FEWEST_BUNCHES = 4.0
"""With fewer, cutting one in two at an end of the window shifts the mean rate by tens of per cent; with four by 4 %."""
_STEPS = 20

_NS_PER_S = 1_000_000_000


class Window(NamedTuple):
    """What counts for the rate: requests in the time between two completions; zeros where no rate can be told."""

    requests: int
    duration_ns: int
    ramp_end_ns: int
    """Latencies of requests completed after this count. Where the ramp never ended, the end of the slice."""


def window(completed_ns: NDArray[np.uint64], started_ns: int, slice_s: float, concurrency: int) -> Window:
    """Find the window of one slice from the times at which correct replies were complete, in any order.

    It reaches from the last completion before the ramp's end to the last before the slice's end. Both
    ends follow one rule that looks at a clock, not at the completions; so a server that answers in bunches,
    with gaps between them, gets the rate that it has, neither more nor less, given some bunches a slice.
    """
    times = np.sort(completed_ns).astype(np.int64) - started_ns
    slice_ns = round(slice_s * _NS_PER_S)
    ramp_ns = _ramp_ns(times, slice_ns, concurrency)
    before_ramp_end, before_end = (int(n) for n in np.searchsorted(times, [ramp_ns, slice_ns]))
    requests = before_end - before_ramp_end
    gaps = np.diff(times[max(before_ramp_end - 1, 0) : before_end])
    if not before_ramp_end or requests < FEWEST_REQUESTS or _bunches(gaps) < FEWEST_BUNCHES:
        return Window(0, 0, started_ns + ramp_ns)
    return Window(requests, int(gaps.sum()), started_ns + ramp_ns)


def _ramp_ns(times: NDArray[np.int64], slice_ns: int, concurrency: int) -> int:
    """Return when every connection has had a turn, on a grid: a completion itself would favour ends within bunches."""
    if len(times) < concurrency:
        return slice_ns
    turn_ns = int(times[concurrency - 1])
    step = math.ceil(turn_ns * _STEPS / slice_ns)
    return min(max(step, math.ceil(RAMP_SHARE * _STEPS)) * slice_ns // _STEPS, slice_ns)


def _bunches(gaps: NDArray[np.int64]) -> float:
    """Count the gaps that make up the time: n for n equal ones, about k for k bunches however many replies each has.

    A single long stall hardly lowers it, so that a slice with one is kept: to leave those out would flatter
    a server that stalls.
    """
    longest = float(gaps.max(initial=0))
    if not longest:
        return 0.0
    shares = gaps / longest
    return float(shares.sum() ** 2 / (shares**2).sum())
