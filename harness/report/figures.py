"""Numbers, names, paragraphs and tables as people read them."""

import os
import re
import textwrap
from collections.abc import Sequence

from rich.console import Console
from tabulate import tabulate

from harness.schema import Cell, Estimate

WIDTH = 120
"""The columns that reports are made for."""
NONE = "-"
"""Stands where no claim is made."""
_KEPT_TOGETHER = "\N{NO-BREAK SPACE}%"
_PLAIN_RATIO = 10.0
_TWO_DIGITS = 10
_LONGEST = 500
"""Characters of a text from elsewhere that are shown; no name or reason of ours is near that."""


def columns(console: Console) -> int:
    """Tell how wide a report may be: as the terminal, or as COLUMNS says, but no wider than WIDTH."""
    is_known = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return min(WIDTH, console.width) if is_known else WIDTH


def number(value: float | None, decimals: int) -> str:
    """Return ``12,345.6``, or NONE."""
    return NONE if value is None else f"{value:,.{decimals}f}"


def interval(estimate: Estimate, decimals: int) -> str:
    """Return ``1.02-1.06``, with an en dash; empty where no claim is made."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low, decimals)}\N{EN DASH}{number(estimate.high, decimals)}"


def estimate(known: Estimate, decimals: int) -> str:
    """Return ``1.040`` and under it ``1.02-1.06``; NONE, over nothing, where no claim is made."""
    return f"{number(known.value, decimals)}\n{interval(known, decimals)}"


def ratio(known: Estimate) -> str:
    """Return a ratio and under it its interval, with the decimals that say something; NONE where no claim is made."""
    return NONE if known.value is None else estimate(known, ratio_decimals(known))


def ratio_decimals(ratio: Estimate) -> int:
    """Return how many decimals of a ratio say something."""
    return 1 if ratio.value is not None and ratio.value >= _PLAIN_RATIO else 3


def per_cent(share: float) -> str:
    """Return ``3.4`` or ``12``: a share in per cent, without the sign for it."""
    value = share * 100
    return f"{value:.0f}" if abs(value) >= _TWO_DIGITS else f"{value:.1f}"


def plural(count: int, noun: str) -> str:
    """Return ``1 worker`` or ``2 workers``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def load(cell: Cell) -> str:
    """Return the load of a cell in words."""
    rate = "" if cell.rate_rps is None else f", {cell.rate_rps:,} requests/s offered"
    idle = f", {cell.idle:,} idle ones" if cell.idle else ""
    return f"{plural(cell.workers, 'worker')}, {plural(cell.concurrency, 'connection')}{idle}{rate}"


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return text in one line that is safe to print: what is no visible character is escaped, a long text shortened."""
    half, left_out = longest // 2, len(text) - longest
    shown = text if left_out <= 0 else f"{text[:half]}… ({left_out:,} characters left out) …{text[-half:]}"
    return shown if shown.isprintable() else _visible(shown)


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def lines_as_they_are(text: str) -> str:
    """Return a text of several lines in which nothing but their ends is no visible character."""
    return "\n".join(line if line.isprintable() else _visible(line) for line in text.split("\n"))


def listing(parts: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def wrap(text: str, width: int, indent: str = "", hanging: str | None = None) -> str:
    """Return a paragraph that is not broken before a per cent sign; ``hanging`` indents all lines but the first."""
    rest = indent if hanging is None else hanging
    filled = textwrap.fill(text.replace(" %", _KEPT_TOGETHER), width, initial_indent=indent, subsequent_indent=rest)
    return filled.replace(_KEPT_TOGETHER, " %")


def table(rows: Sequence[Sequence[object]], headers: Sequence[str], alignment: Sequence[str] | None = None) -> str:
    """Return a table of texts, shown as they are; ``alignment`` is ``left`` or ``right`` for each column."""
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=alignment, headersalign=alignment)


def name(text: str, width: int) -> str:
    """Return an implementation's name in lines of ``width``, broken before a ``+`` where that will do."""
    lines = [""]
    for part in re.split(r"(?=\+)", printable(text)):
        if len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines += textwrap.wrap(part, width)
    return "\n".join(line for line in lines if line)


def show(console: Console, text: str) -> None:
    """Print a text as it is: nothing in it is markup, no line is broken, and nothing but its lines moves the cursor.

    Control characters, and those that turn the direction of writing, are escaped here too, whoever forgot it.
    """
    console.print(lines_as_they_are(text), highlight=False, markup=False, soft_wrap=True)


def warn(console: Console, text: str) -> None:
    """Print a text as ``show`` does, also on a console that is to be quiet."""
    was_quiet, console.quiet = console.quiet, False
    try:
        show(console, text)
    finally:
        console.quiet = was_quiet
