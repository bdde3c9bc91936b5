"""Fewer marks for a long run: neighbouring slices together, of which the least, the median and the most are kept."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.schema import Slice


@dataclass(frozen=True, slots=True)
class Group:
    """Slices that followed each other."""

    slices: Sequence[Slice]

    @property
    def middle(self) -> Slice:
        """The one in the middle of the time."""
        return self.slices[len(self.slices) // 2]

    @property
    def least_rps(self) -> float:
        """The lowest rate."""
        return min(piece.window_rps for piece in self.slices)

    @property
    def median_rps(self) -> float:
        """The rate that half of them are below."""
        return statistics.median(piece.window_rps for piece in self.slices)

    @property
    def most_rps(self) -> float:
        """The highest rate."""
        return max(piece.window_rps for piece in self.slices)


def thinned(slices: Sequence[Slice], most: int) -> Iterator[Group]:
    """Yield all slices in ``most`` groups of the same size, give or take one; each by itself where that is enough."""
    groups = min(most, len(slices))
    bounds = [math.ceil(len(slices) * number / groups) for number in range(groups + 1)] if groups else []
    for begin, end in pairwise(bounds):
        yield Group(slices[begin:end])
