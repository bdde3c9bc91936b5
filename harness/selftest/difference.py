"""Planted differences: servers that take a known share of CPU time more. Each must be found with the right sign."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.analysis.comparison import compare
from harness.schema import CellSummary, Estimate, PlannedCell
from harness.selftest.experiment import Experiment, Measured, tampered
from harness.testbed import Testbed

HARDEST = 3
"""It gets a run of its own, beside its base alone; in per cent, as the next."""
EASIER = (10, 30)
BUDGET_S = 20.0
PAIR_BUDGET_S = 40.0
BLOCKS = 6
_BASE = "base"
_EVERY_ROUNDS = 4

FIGURES: dict[str, tuple[Callable[[CellSummary], Estimate], bool]] = {
    "requests/s": (lambda cell: cell.ratio, False),
    "CPU per request": (lambda cell: cell.cpu_ratio, True),
}
"""How to get at it, and whether more of it is worse."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A planted difference and what was found of it."""

    percent: int
    figure: str
    found: Estimate
    more_is_worse: bool

    @property
    def expected(self) -> float:
        """The ratio that was planted."""
        share = 1 + self.percent / 100
        return share if self.more_is_worse else 1 / share

    @property
    def has_right_sign(self) -> bool:
        """Whether the whole interval is on the planted side of 1."""
        if self.found.low is None or self.found.high is None:
            return False
        return self.found.low > 1 if self.more_is_worse else self.found.high < 1


@dataclass(frozen=True, slots=True)
class TimeToTell:
    """How long it took until the interval of a pair had left 1 for good."""

    figure: str
    seconds: float | None
    """From the start of the run, servers' starts included; None: it never did."""


def find_easier(testbed: Testbed, cell: PlannedCell, seed: int) -> list[Difference]:
    """Run the servers with the larger differences beside their base."""
    return _found(_run(testbed, cell, seed, EASIER, BUDGET_S), EASIER)


def find_hardest(testbed: Testbed, cell: PlannedCell, seed: int) -> tuple[list[Difference], list[TimeToTell]]:
    """Run the hardest pair, and look from which round on the interval no longer holds 1."""
    measured = _run(testbed, cell, seed, (HARDEST,), PAIR_BUDGET_S)
    times = [TimeToTell(name, _first_told(measured, figure)) for name, (figure, _) in FIGURES.items()]
    return _found(measured, (HARDEST,)), times


def _found(measured: Measured, percent: Sequence[int]) -> list[Difference]:
    return [
        Difference(each, name, figure(measured.cells[_name(each)]), more_is_worse)
        for each in percent
        for name, (figure, more_is_worse) in FIGURES.items()
    ]


def _run(testbed: Testbed, cell: PlannedCell, seed: int, percent: Sequence[int], budget_s: float) -> Measured:
    planted = [tampered(_BASE, "slower", 0), *(tampered(_name(each), "slower", each) for each in percent)]
    return Experiment(
        implementations=planted, cell=cell, testbed=testbed, budget_s=budget_s, seed=seed, blocks=BLOCKS
    ).run()


def _first_told(measured: Measured, figure: Callable[[CellSummary], Estimate]) -> float | None:
    told: float | None = None
    last = max(measured.elapsed_s, default=0)
    for number in sorted({*range(_EVERY_ROUNDS, last, _EVERY_ROUNDS), last}):
        until = [piece for piece in measured.slices if piece.round <= number]
        cells = {one.impl: one for one in compare(measured.plan, until, {}).cells}
        if figure(cells[_name(HARDEST)]).holds(1.0):
            told = None
        elif told is None:
            told = measured.elapsed_s[number]
    return told


def _name(percent: int) -> str:
    return f"slower-{percent}"
