"""The table of what one request takes, and what was not the same in every round."""

from collections.abc import Callable, Iterator, Sequence

from harness.analysis.cost import Cost, Costs, Figure, Taken
from harness.report import figures
from harness.report.figures import NONE, WIDTH
from harness.schema import Workload

_DECIMALS = 3
_NAME_WIDTH = len("epoll_raw+lean")
_LARGE = 1000
"""Instructions, which have no decimals that say something."""
_VARIES = "~"
_LEGEND = (
    "Counted in one worker, in several rounds; what has no {varies} was the same in each. The worker is held until a "
    "request, or a whole bunch, has arrived; what it does for being held is left out. Wake-ups: how often it slept and "
    "was woken; not told of a proxy, which may sleep or not while a backend accepts."
)


def render(workload: Workload, costs: Sequence[Cost]) -> str:
    """Return the table of one workload."""
    calls = sorted({name for cost in costs for taken in _regimes(cost) for name in taken.calls})
    rows = [
        *([name, *(_cell(cost, _call(name)) for cost in costs)] for name in calls),
        ["all system calls", *(_cell(cost, lambda taken: taken.all_calls) for cost in costs)],
        ["wake-ups", *(_cell(cost, lambda taken: taken.wakeups) for cost in costs)],
        ["segments in + out", *(_segments(cost.alone) for cost in costs)],
    ]
    if workload == "proxy":
        rows.append(["at the backend", *(_segments(cost.alone, "backend ") for cost in costs)])
    rows.append(["instructions", *(_cell(cost, lambda taken: taken.instructions) for cost in costs)])
    names = (figures.name(cost.impl, _NAME_WIDTH) for cost in costs)
    table = figures.table(rows, ["", *names], ["left", *["right"] * len(costs)])
    remarks = [figures.wrap(remark, WIDTH, "  ", "    ") for cost in costs for remark in _remarks(cost)]
    return "\n".join([_title(workload, costs), "", table, *(["", *remarks] if remarks else [])]) + "\n"


def legend(found: Costs) -> str:
    """Return what the figures mean, and why some are not there."""
    return figures.wrap(" ".join([_LEGEND.format(varies=_VARIES), *found.notes]), WIDTH)


def _title(workload: Workload, costs: Sequence[Cost]) -> str:
    bunches = {cost.bunch.at_a_time for cost in costs if cost.bunch}
    regimes = "".join(f", by itself / in a bunch of {size}" for size in bunches)
    return f"{workload.upper()}: what one request takes{regimes}"


def _regimes(cost: Cost) -> Sequence[Taken]:
    return [cost.alone, *([cost.bunch] if cost.bunch else [])]


def _call(name: str) -> Callable[[Taken], Figure | None]:
    return lambda taken: taken.calls.get(name)


def _cell(cost: Cost, figure: Callable[[Taken], Figure | None]) -> str:
    """Return a figure by itself and in a bunch, or one for both."""
    texts = dict.fromkeys(_text(figure(taken)) for taken in _regimes(cost))
    return " / ".join(texts)


def _segments(taken: Taken, prefix: str = "") -> str:
    if not taken.segments:
        return NONE
    return " + ".join(_text(taken.segments.get(f"{prefix}{direction}")) for direction in ("in", "out"))


def _text(figure: Figure | None) -> str:
    """Return ``2`` or ``1.016``, and with a sign before it what was not the same in every round."""
    if figure is None:
        return NONE
    decimals = _DECIMALS if figure.value < _LARGE else 0
    number = figures.number(figure.value, decimals)
    number = number.rstrip("0").rstrip(".") if decimals else number
    return number if figure.is_exact else f"{_VARIES}{number}"


def _remarks(cost: Cost) -> Iterator[str]:
    for taken in _regimes(cost):
        varying = [
            f"{name} {figure.low:.{_DECIMALS}f} to {figure.high:.{_DECIMALS}f}"
            for name, figure in taken.varying().items()
        ]
        if varying:
            regime = "by itself" if taken.at_a_time == 1 else f"in a bunch of {taken.at_a_time}"
            yield f"{figures.printable(cost.impl)}, {regime}: not the same in every round: {figures.listing(varying)}."
