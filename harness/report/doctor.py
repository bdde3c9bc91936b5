"""What ``harness doctor`` found, for people: what is right in a line, and for the rest why, and what mends it."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from harness.doctor_schema import Diagnosis, Looked, State
from harness.report import figures
from harness.report.figures import WIDTH, plural

_COLOURS: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "cyan"}
_STATE_WIDTH = max(map(len, _COLOURS))
_GAP = "  "


def show(console: Console, found: Diagnosis) -> None:
    """Print it; with colours where that is a terminal."""
    for line in _lines(found):
        console.print(line, soft_wrap=True)


def _lines(found: Diagnosis) -> Iterator[Text]:
    width = max(len(_title(one)) for one in found.checks)
    for area, checks in groupby(found.checks, key=lambda one: one.area):
        yield Text(area, style="bold")
        for one in checks:
            yield from _check(one, width)
        yield Text()
    yield Text(summary(found))


def _check(one: Looked, width: int) -> Iterator[Text]:
    indent = " " * (len(_GAP) + _STATE_WIDTH + len(_GAP))
    first, *rest = _wrapped(f"{_title(one):<{width}}{_GAP}", one.found, len(indent), width + len(_GAP))
    yield Text.assemble(_GAP, (f"{one.state:<{_STATE_WIDTH}}", _COLOURS[one.state]), _GAP, first)
    if one.state != "ok":
        rest += _wrapped("why: ", one.why, len(indent) + 4, 0)
    for line in rest:
        yield Text(indent + line)
    if one.mend and one.state != "ok":
        # In one line, however long, so that it can be copied.
        yield Text(f"{indent}    mend: {figures.printable(one.mend)}")


def _wrapped(head: str, text: str, indent: int, hanging: int) -> list[str]:
    shift = " " * (indent - len(_GAP) * 2 - _STATE_WIDTH)
    lines = figures.wrap(figures.printable(text), WIDTH - indent, head, " " * hanging).splitlines()
    return [shift + line for line in lines]


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
