"""What ``harness doctor`` found, for people: what is right in a line, and for the rest why, and what mends it."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from harness.doctor_schema import Diagnosis, Looked, State
from harness.report import figures
from harness.report.figures import plural

_COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "cyan"}
_STATE_WIDTH = max(map(len, _COLOURS))
_GAP = "  "
_DEEPER = 4
_LEAST_ROOM = 20
"""For words, however narrow a terminal is."""


def show(console: Console, found: Diagnosis) -> None:
    """Print it; with colours where that is a terminal."""
    for line in _lines(found, figures.columns(console)):
        console.print(line, soft_wrap=True)


def _lines(found: Diagnosis, columns: int) -> Iterator[Text]:
    width = max(len(_title(one)) for one in found.checks)
    for area, checks in groupby(found.checks, key=lambda one: one.area):
        yield Text(area, style="bold")
        for one in checks:
            yield from _check(one, width, columns)
        yield Text()
    yield Text(figures.wrap(summary(found), columns))


def _check(one: Looked, width: int, columns: int) -> Iterator[Text]:
    indent = " " * (len(_GAP) + _STATE_WIDTH + len(_GAP))
    room = max(_LEAST_ROOM, columns - len(indent))
    head, hanging = f"{_title(one):<{width}}{_GAP}", width + len(_GAP)
    if hanging > room // 2:
        head, hanging = f"{_title(one)}: ", _DEEPER
    first, *rest = _wrapped(head, one.found, room, hanging)
    yield Text.assemble(_GAP, (f"{one.state:<{_STATE_WIDTH}}", _COLOURS[one.state]), _GAP, first)
    if one.state != "ok":
        rest += [" " * _DEEPER + line for line in _wrapped("why: ", one.why, room - _DEEPER, 0)]
    for line in rest:
        yield Text(indent + line)
    if one.mend and one.state != "ok":
        # In one line, however long, so that it can be copied.
        yield Text(f"{indent}{' ' * _DEEPER}mend: {figures.printable(one.mend)}")


def _wrapped(head: str, text: str, width: int, hanging: int) -> list[str]:
    return figures.wrap(figures.printable(text), width, head, " " * hanging).splitlines()


def _title(one: Looked) -> str:
    return f"{figures.printable(one.device)} {one.title}" if one.device else one.title


def summary(found: Diagnosis) -> str:
    """Return the line at the end: how many of each."""
    right = len(found.checks) - found.problems - found.warnings - found.unknown
    counts = [
        plural(found.problems, "problem"),
        plural(found.warnings, "warning"),
        f"{found.unknown} that cannot be told here",
        f"{right} as they should be",
    ]
    hint = "" if found.is_root else "; root can tell more"
    mends = "; what mends is for a root shell" if any(one.mend for one in found.checks) else ""
    return f"{figures.listing(counts)}{hint}{mends}."
