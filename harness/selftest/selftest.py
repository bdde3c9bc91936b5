"""The selftest command: A/A, planted differences, planted limits, and a table for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from harness import hosts
from harness.loadgen import GeneratorFailed
from harness.report import figures
from harness.report import selftest as report
from harness.schema import Cell, PlannedCell
from harness.selftest import coverage, difference, limits
from harness.servers import ServerFailed
from harness.snapshot import BackendEnded
from harness.testbed import Choice
from harness.testbed.placement import Cpus

Part = Literal["same", "difference", "limits"]
LOAD = Cell("short", 1, 100)
"""What the first two parts are tried with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    parts: Sequence[Part]
    runs: int
    """Of the first part."""
    testbed: Choice
    cpus: Cpus
    seed: int


def selftest(request: Request, output: Console, progress: Console) -> bool:
    """Try it and print a table for each part; tell whether nothing was missed. Raises BadInput."""
    try:
        return _try_parts(request, output, progress)
    except (ServerFailed, GeneratorFailed, BackendEnded, OSError) as failure:
        figures.warn(progress, f"harness: error: {failure}")
        return False


def _try_parts(request: Request, output: Console, progress: Console) -> bool:
    def place(cell: Cell) -> PlannedCell:
        return hosts.place(request.cpus, cell)

    def tell(text: str) -> None:
        figures.show(progress, text)

    def show(text: str) -> None:
        figures.show(output, text)

    missed = False
    not_tried: list[str] = []
    with hosts.opened(request.testbed, progress, with_backend=True) as testbed:
        for note in testbed.notes:
            show(note)
        if "same" in request.parts:
            found = []
            for number, ratios in enumerate(coverage.runs(testbed, place(LOAD), request.runs, request.seed), 1):
                found.append(ratios)
                tell(f"same server twice: run {number} of {request.runs}: {report.ratios(ratios)}")
            covered = coverage.sum_up(found)
            show(report.coverage(covered))
            missed |= not all(one.is_as_claimed for one in covered)
        if "difference" in request.parts:
            tell(f"planted differences: {difference.HARDEST} %, and how long it takes to tell")
            differences, times = difference.find_hardest(testbed, place(LOAD), request.seed)
            tell(f"planted differences: {' and '.join(map(str, difference.EASIER))} %")
            differences += difference.find_easier(testbed, place(LOAD), request.seed)
            show(report.differences(differences, times))
            missed |= not all(one.has_right_sign for one in differences) or any(one.seconds is None for one in times)
        if "limits" in request.parts:
            named = []
            for limit in limits.find_all(testbed, place, request.seed):
                tell(f"planted limits: {limit.cause}: {limit.found or 'not tried'}")
                named.append(limit)
            show(report.limits(named))
            missed |= not all(one.is_named for one in named if one.found)
            not_tried += [one.cause for one in named if not one.found]
    show(report.outcome(missed=missed, not_tried=not_tried))
    return not missed
