"""When slices were measured, as an axis: time where it is known, rounds elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from harness.report import figures
from harness.schema import Slice

_NS_PER_S: Final = 1_000_000_000
_UNITS: Final = ((1, "s"), (60, "min"), (3600, "h"))
_LONG: Final = 600
"""Of one unit there are no more than so many, where there is a larger one."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The axis of the slices of one cell."""

    began_ns: int
    unit_s: int
    """0: rounds are counted, not time."""
    unit: str

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> Self:
        """Choose the unit. Where a machine was restarted between two rounds, its clock tells nothing of them."""
        starts = [piece.started_ns for piece in sorted(slices, key=lambda piece: (piece.round, piece.position))]
        if not all(starts) or any(later < earlier for earlier, later in pairwise(starts)):
            return cls(0, 0, "round")
        span_s = (starts[-1] - starts[0]) / _NS_PER_S
        unit_s, unit = next((one for one in _UNITS if span_s <= one[0] * _LONG), _UNITS[-1])
        return cls(starts[0], unit_s, unit)

    @property
    def title(self) -> str:
        """What stands at the axis."""
        return f"time, {self.unit}" if self.unit_s else "round"

    def at(self, piece: Slice) -> float:
        """Tell where a slice is on the axis."""
        return (piece.started_ns - self.began_ns) / _NS_PER_S / self.unit_s if self.unit_s else piece.round

    def told(self, piece: Slice) -> str:
        """Return that in words."""
        return f"at {figures.number(self.at(piece), 2)} {self.unit}" if self.unit_s else f"in round {piece.round}"
