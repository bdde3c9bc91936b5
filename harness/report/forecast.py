"""What a run is going to take, in words: the processes that it will start, and the time."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from harness.report import figures
from harness.report.figures import WIDTH

_PROCESS_HEADERS = ("while measuring", "what", "processes", "on CPU")
_PROCESS_ALIGNMENT = ("left", "left", "right", "left")
_TIME_HEADERS = ("time for", "about")
_TIME_ALIGNMENT = ("left", "right")
_MINUTE_S, _HOUR_S = 60, 3600
_IN_SECONDS_S, _IN_MINUTES_S = 90, 5400
"""Up to here a time is told in seconds, and in minutes."""
_DRY = "This was a dry run: no server was started, nothing was measured, and nothing was written."


class Processes(NamedTuple):
    """Processes of one kind that run at the same time."""

    what: str
    number: int
    cpus: str
    """What they are bound to; empty: nothing."""
    cells: str = ""
    """While which cells are measured."""


class Step(NamedTuple):
    """A part of a run, and how long it is likely to take."""

    what: str
    seconds: float


class Forecast(NamedTuple):
    """What a run is going to take."""

    processes: Sequence[Processes]
    holders: int
    """Processes that hold the testbed's namespaces all the time."""
    steps: Sequence[Step]
    may_end_early: bool
    """Whether cells end as soon as they are precise enough."""
    assumed: str
    """What the times rest on; sentences."""


def render(forecast: Forecast, width: int = WIDTH) -> str:
    """Return the tables of processes and of time, sentences in lines of ``width``."""
    parts = [
        "What it would take",
        textwrap.indent(_processes(forecast.processes), "  "),
        figures.wrap(_at_once(forecast), width, "  "),
        textwrap.indent(_times(forecast), "  "),
        figures.wrap(forecast.assumed, width, "  "),
        _DRY,
    ]
    return "\n\n".join(parts) + "\n"


def _processes(processes: Sequence[Processes]) -> str:
    rows = []
    before = ""
    for one in processes:
        rows.append(["" if one.cells == before else one.cells, one.what, one.number, one.cpus or figures.NONE])
        before = one.cells
    return figures.table(rows, _PROCESS_HEADERS, _PROCESS_ALIGNMENT)


def _at_once(forecast: Forecast) -> str:
    cells = dict.fromkeys(one.cells for one in forecast.processes)
    most = max(sum(one.number for one in forecast.processes if one.cells == each) for each in cells)
    holders = f", {forecast.holders} that hold the namespaces among them" if forecast.holders else ""
    return f"At most {most + forecast.holders:,} processes at once, beside the harness{holders}."


def _times(forecast: Forecast) -> str:
    whole = _duration(sum(step.seconds for step in forecast.steps))
    rows = [[step.what, _duration(step.seconds)] for step in forecast.steps]
    rows.append(["all of it", f"at most {whole}" if forecast.may_end_early else whole])
    return figures.table(rows, _TIME_HEADERS, _TIME_ALIGNMENT)


def _duration(seconds: float) -> str:
    if seconds < _IN_SECONDS_S:
        return f"{seconds:.0f} s"
    if seconds < _IN_MINUTES_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h"
