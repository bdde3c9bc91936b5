"""The ratio to the reference in each cell, with its interval: of what the cell is ranked by."""

from collections.abc import Sequence

import altair as alt

from harness.report import cells, figures
from harness.report.cells import CellFigures
from harness.report.plots import scale, style
from harness.report.plots.plot import Chart, Plot
from harness.results import StoredRun
from harness.schema import CellSummary, Estimate, Summary

_ROOM = 1.12
"""How far the axis goes on beyond the outermost whisker, as a factor."""
_COLUMNS = ("implementation", "ratio", "95 % interval", "")


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell in which anybody has a ratio beside the reference."""
    found = (_of_cell(run, one, summary.reference) for one in cells.of(summary))
    return [plot for plot in found if plot is not None]


def _of_cell(run: StoredRun, cell: CellFigures, reference: str) -> Plot | None:
    shown = [(entry, ratio) for entry in cell.entries if (ratio := cell.ratio(entry)).value is not None]
    if not any(entry.impl != reference for entry, _ in shown):
        return None
    return Plot(
        name=f"{cell.name}-ratio",
        cell=cell.key,
        title=f"{cell.ranked_by[0].upper()}{cell.ranked_by[1:]}, ratio to {figures.printable(reference)}",
        caption=_caption(cell),
        chart=_chart(run, shown, reference),
        columns=_COLUMNS,
        rows=[_row(entry, ratio, reference) for entry, ratio in shown],
    )


def _caption(cell: CellFigures) -> str:
    better = "Further right is faster." if cell.ranking.by == "throughput" else "Further left is cheaper."
    return f"{better} Whiskers are 95 % intervals; a hollow dot is a tie, as its interval holds 1."


def _row(entry: CellSummary, ratio: Estimate, reference: str) -> list[str]:
    says = "reference" if entry.impl == reference else "tie" if ratio.holds(1.0) else ""
    decimals = figures.ratio_decimals(ratio)
    value, interval = figures.number(ratio.value, decimals), figures.interval(ratio, decimals)
    return [figures.printable(entry.impl), value, interval, says]


def _chart(run: StoredRun, shown: Sequence[tuple[CellSummary, Estimate]], reference: str) -> Chart:
    colours = style.colours(run.plan.implementations)
    rows = [_datum(entry, ratio, reference, colours[entry.impl]) for entry, ratio in shown]
    ends = [figure for _, ratio in shown for figure in (ratio.low or 1.0, ratio.high or 1.0)]
    low, high = min(*ends, 1.0) / _ROOM, max(*ends, 1.0) * _ROOM
    axis = alt.Axis(title=None, values=scale.log_ticks(low, high), format="~g", grid=True)
    across = alt.X("value:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)
    down = style.names_axis()
    base = alt.Chart(style.data(rows))
    line = base.mark_rule(aria=False, strokeDash=[4, 3], color=style.QUIET).encode(
        x=alt.datum(1.0, type="quantitative")
    )
    whiskers = base.mark_rule(aria=False, strokeWidth=2).encode(
        x=alt.X("low:Q"), x2="high:Q", y=down, color=alt.Color("colour:N", scale=None)
    )
    dots = base.mark_point(size=90, strokeWidth=2, filled=False).encode(
        x=across, y=down, description="says:N",
        stroke=alt.Stroke("colour:N", scale=None), fill=alt.Fill("inner:N", scale=None),
    )  # fmt: skip
    texts = base.mark_text(aria=False, dy=-style.TEXT_ABOVE, fontSize=11, fill=style.QUIET).encode(
        x=across, y=down, text="text:N"
    )
    return alt.layer(line, whiskers, dots, texts).properties(height=alt.Step(style.ROW))


def _datum(entry: CellSummary, ratio: Estimate, reference: str, colour: str) -> dict[str, object]:
    name, value, interval, says = _row(entry, ratio, reference)
    hollow = ratio.holds(1.0) and entry.impl != reference
    whole = f"{name}: reference" if says == "reference" else f"{name}: {value} ({interval}){', a tie' * bool(says)}"
    return {
        "name": style.label(entry.impl), "value": ratio.value, "low": ratio.low, "high": ratio.high, "says": whole,
        "colour": colour, "inner": style.PAGE if hollow else colour, "text": value,
    }  # fmt: skip
