"""Requests/s in each cell, with their intervals."""

from collections.abc import Sequence

import altair as alt

from harness.analysis.verdicts import SERVER_BOUND
from harness.report import cells, figures
from harness.report.cells import CellFigures
from harness.report.plots import style
from harness.report.plots.plot import Chart, Plot
from harness.results import StoredRun
from harness.schema import CellSummary, Summary

_COLUMNS = ("implementation", "requests/s", "95 % interval", "verdict")
_ROOM = 1.02
_LABELS = "datum.value == 0 ? '0' : format(datum.value, '~s')"
"""As of themselves axes have 0k."""


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell in which anybody's requests/s are known."""
    return [plot for cell in cells.of(summary) if (plot := _of_cell(run, cell)) is not None]


def _of_cell(run: StoredRun, cell: CellFigures) -> Plot | None:
    shown = [entry for entry in cell.entries if entry.throughput_rps.value is not None]
    if not shown:
        return None
    return Plot(
        name=f"{cell.name}-throughput",
        cell=cell.key,
        title="Requests/s",
        caption=_caption(cell, shown),
        chart=_chart(run, shown),
        columns=_COLUMNS,
        rows=[_row(entry) for entry in shown],
    )


def _caption(cell: CellFigures, shown: Sequence[CellSummary]) -> str:
    offered = cell.cell.rate_rps
    if offered is not None:
        return f"{offered:,} requests/s were offered to each: this is what it kept up with. Whiskers: 95 % intervals."
    if all(entry.verdict == SERVER_BOUND for entry in shown):
        return "Whiskers: 95 % intervals."
    return "A hollow bar is not the server's own speed, as something else was the limit. Whiskers: 95 % intervals."


def _row(entry: CellSummary) -> list[str]:
    rate = entry.throughput_rps
    return [figures.printable(entry.impl), figures.number(rate.value, 0), figures.interval(rate, 0), entry.verdict]


def _chart(run: StoredRun, shown: Sequence[CellSummary]) -> Chart:
    colours = style.colours(run.plan.implementations)
    data = style.data([_datum(entry, colours[entry.impl]) for entry in shown])
    most = max(max(entry.throughput_rps.high or 0.0, entry.throughput_rps.value or 0.0) for entry in shown)
    across = alt.X(
        "value:Q",
        scale=alt.Scale(domain=[0, most * _ROOM], nice=False),
        axis=alt.Axis(title=None, tickCount=4, labelExpr=_LABELS),
    )
    down = style.names_axis()
    base = alt.Chart(data)
    bars = base.mark_bar(height=style.BAR, strokeWidth=1.5).encode(
        x=across, y=down, description="says:N",
        fill=alt.Fill("inner:N", scale=None), stroke=alt.Stroke("colour:N", scale=None),
    )  # fmt: skip
    whiskers = base.mark_rule(aria=False, strokeWidth=2, color=style.TEXT).encode(x="low:Q", x2="high:Q", y=down)
    halo = base.mark_rule(aria=False, strokeWidth=4, color=style.PAGE).encode(x="low:Q", x2="high:Q", y=down)
    texts = style.text_above(base).encode(x=alt.XDatum(0), y=down, text="text:N")
    return alt.layer(bars, halo, whiskers, texts).properties(height=alt.Step(style.ROW))


def _datum(entry: CellSummary, colour: str) -> dict[str, object]:
    name, value, interval, verdict = _row(entry)
    rate = entry.throughput_rps
    in_brackets = f" ({interval})" if interval else ""
    return {
        "name": style.label(entry.impl), "value": rate.value, "low": rate.low, "high": rate.high, "colour": colour,
        "says": f"{name}: {value} requests/s{in_brackets}, {verdict}", "text": value,
        "inner": colour if verdict == SERVER_BOUND else style.PAGE,
    }  # fmt: skip
