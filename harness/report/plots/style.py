"""How all plots look: sizes, and colours that stand for what the page or the file has in their place.

A drawing for the page is used in light and in dark, so it has no real colours: each of the colours here is one that
nothing else has, and ``drawing.py`` puts another in its place, or the page's variable for it.
"""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from harness.report import figures
from harness.schema import PlannedImplementation

WIDTH: Final = 420
"""Pixels of a usual plot: two or three of them stand side by side, and on a phone it shrinks by a fifth."""
WIDE: Final = 900
ROW: Final = 34
"""Pixels for each implementation of a plot that has them one under another."""
TEXT_ABOVE: Final = 13
"""Pixels from the middle of a row to a figure above its bar or dot."""
BAR: Final = 14
"""Pixels of a bar's thickness."""
FONT: Final = "sans-serif"
FONT_SIZE: Final = 13
SMALL: Final = 11
"""Of figures beside marks."""
LABEL_WIDTH: Final = 20
"""Characters in a line of a name."""
_LINES = 2

TEXT, QUIET, LINE, PAGE = "#010101", "#010102", "#010103", "#010104"
"""Writing, less important writing, grid and axes, and what is behind everything."""
USER, SYSTEM, SOFTIRQ, GREY = "#010105", "#010106", "#010107", "#010108"
"""The kinds of CPU time; GREY is for what is no claim."""
WORK: Final = ("#010111", "#010112", "#010113", "#010114", "#010115")
"""Kinds of work in a profile."""
KERNEL, PROGRAM = "#010116", "#010117"
"""What is behind the names in a flame graph."""
IMPLEMENTATIONS_FROM: Final = 0x020000
MOST_COLOURS: Final = 8
"""Different ones of implementations; the ninth has the first's again."""
DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3])
"""What tells lines of the same colour apart."""

_LABEL_LIMIT: Final = 190
_SHOWN: Final = "split(split(datum.label, '\\t')[0], '\\n')"
"""What an axis shows of a label."""


def colour(index: int) -> str:
    """Return the colour of the implementation that a plan has at ``index``."""
    return f"#{IMPLEMENTATIONS_FROM + index:06x}"


def colours(implementations: Sequence[PlannedImplementation]) -> dict[str, str]:
    """Return the colour of each implementation of a plan, by its name."""
    return {one.name: colour(index) for index, one in enumerate(implementations)}


def dashes(implementations: Sequence[PlannedImplementation]) -> dict[str, Sequence[int]]:
    """Return the dashes of each implementation's lines, by its name: colours that come again have others."""
    return {one.name: DASHES[index // MOST_COLOURS % len(DASHES)] for index, one in enumerate(implementations)}


def label(name: str) -> str:
    """Return a name as axes have it: two lines of it at most, and behind a tab, which they do not show, all of it.

    So names that look alike when they are shortened have a row each.
    """
    lines = figures.name(name, LABEL_WIDTH).split("\n")
    shown = lines if len(lines) <= _LINES else [lines[0], f"…{figures.printable(name)[1 - LABEL_WIDTH :]}"]
    return "\n".join(shown) + f"\t{figures.printable(name)}"


def names_axis(field: str = "name", room: int | None = None, **others: Any) -> alt.Y:
    """Return the vertical axis with a row for each name, in the order of the data.

    ``room`` is how many pixels names have, where that is not left to the longest of them.
    """
    extent = alt.Undefined if room is None else room
    axis = alt.Axis(
        title=None, labelExpr=_SHOWN, domain=False, ticks=False, labelPadding=8, minExtent=extent, maxExtent=extent,
        labelLimit=_LABEL_LIMIT if room is None else room,
    )  # fmt: skip
    return alt.Y(f"{field}:N", sort=None, axis=axis, **others)


def small_text(base: alt.Chart, **others: Any) -> alt.Chart:
    """Return a layer of figures beside marks; who cannot see them has the marks' descriptions."""
    found: alt.Chart = base.mark_text(aria=False, fontSize=SMALL, fill=QUIET, **others)
    return found


def text_above(base: alt.Chart) -> alt.Chart:
    """Return a layer of figures above bars, where these begin."""
    return small_text(base, align="left", dx=3, dy=-TEXT_ABOVE)


def data(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    """Return the data of a chart; they stand in it."""
    return alt.InlineData(values=list(rows))


def config() -> dict[str, Any]:
    """Return the configuration that every chart is drawn with."""
    writing = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": FONT_SIZE, "titleFontSize": FONT_SIZE}
    return {
        "font": FONT,
        "background": None,
        "padding": {"left": 10, "right": 10, "top": 4, "bottom": 4},
        "view": {"stroke": None},
        "axis": {
            **writing, "aria": False, "labelColor": TEXT, "titleColor": QUIET, "titleFontWeight": "normal",
            "gridColor": LINE, "domainColor": LINE, "tickColor": LINE, "titlePadding": 8,
        },
        "legend": {
            **writing, "aria": False, "labelColor": TEXT, "titleColor": QUIET, "titleFontWeight": "normal",
            "orient": "top", "labelLimit": 380, "symbolStrokeWidth": 2,
        },
        "header": {**writing, "labelColor": TEXT, "titleColor": QUIET},
        "text": {"font": FONT, "fontSize": FONT_SIZE, "fill": TEXT},
        "mark": {"opacity": 1},
        "point": {"opacity": 1},
        "bar": {"opacity": 1},
    }  # fmt: skip
