"""Ticks of axes, few enough for a narrow plot."""

import math

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 6
_NARROW = 2.0
"""A logarithmic axis of less than this factor looks as a linear one."""
_DECADES = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))


def log_ticks(low: float, high: float, most: int = _MOST_TICKS) -> list[float]:
    """Return round numbers between ``low`` and ``high`` on a logarithmic axis; 1, where it is between them, is one."""
    if high / low < _NARROW:
        return _linear_ticks(low, high, most)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in _DECADES:
        found = [digit * 10.0**decade for decade in decades for digit in digits]
        found = [round(tick, 10) for tick in found if low <= tick <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(step * size for step in _STEPS if step * size >= rough)
    return [round(step * count, 10) for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
