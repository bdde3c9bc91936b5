"""A/A: the same server twice. An interval of 95 % must hold 1.0 in about 95 of 100 runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.analysis.stats import CONFIDENCE
from harness.registry import Implementation
from harness.schema import CellSummary, Estimate, PlannedCell
from harness.selftest.experiment import PLAIN, Experiment
from harness.testbed import Testbed

BUDGET_S = 2.4
"""Of one run: long enough for some sixteen rounds."""
BLOCKS = 3
LEAST_LIKELY = 0.01
"""Fewer intervals that hold 1.0 than a correct harness has in one of a hundred self tests are a miss."""

FIGURES: dict[str, Callable[[CellSummary], Estimate]] = {
    "requests/s": lambda cell: cell.ratio,
    "CPU per request": lambda cell: cell.cpu_ratio,
    "CPU per request at a fixed rate": lambda cell: cell.at_fixed_rate.cpu_ratio,
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the intervals of one figure held 1.0."""

    figure: str
    held: int
    runs: int
    mean_half_width: float
    """As a share of the ratio."""

    @property
    def fewest(self) -> int:
        """So many must hold."""
        from scipy.stats import binom  # noqa: PLC0415  takes a second, which no other command should wait for

        return int(binom.ppf(LEAST_LIKELY, self.runs, CONFIDENCE))

    @property
    def is_as_claimed(self) -> bool:
        """Whether so few are no more than bad luck."""
        return self.held >= self.fewest


def runs(testbed: Testbed, cell: PlannedCell, count: int, seed: int) -> Iterator[dict[str, Estimate]]:
    """Run a server beside its twin so many times; each run gives a ratio for each of FIGURES."""
    twin = Implementation("twin", PLAIN.argv, PLAIN.cwd, external=False)
    for number in range(count):
        measured = Experiment(
            implementations=[PLAIN, twin],
            cell=cell,
            testbed=testbed,
            budget_s=BUDGET_S,
            seed=seed + number,
            blocks=BLOCKS,
        ).run()
        yield {name: figure(measured.cells["twin"]) for name, figure in FIGURES.items()}


def sum_up(found: list[dict[str, Estimate]]) -> list[Coverage]:
    """Count; a run that makes no claim does not hold 1.0."""
    covered = []
    for name in FIGURES:
        estimates = [one[name] for one in found]
        widths = [width for estimate in estimates if (width := estimate.half_width_share) is not None]
        held = sum(estimate.holds(1.0) for estimate in estimates)
        covered.append(Coverage(name, held, len(found), sum(widths) / len(widths) if widths else 0.0))
    return covered
