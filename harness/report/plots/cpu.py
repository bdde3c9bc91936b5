"""CPU per request in each cell, by what it was spent in."""

from collections.abc import Sequence

import altair as alt

from harness.report import cells, figures
from harness.report.cells import CellFigures
from harness.report.plots import style
from harness.report.plots.plot import Chart, Plot
from harness.results import StoredRun
from harness.schema import CellSummary, CpuUsPerRequest, Summary

_KINDS = {"user": style.USER, "system": style.SYSTEM, "softirq": style.SOFTIRQ}
_UNSPLIT = "not told apart"
_COLUMNS = ("implementation", "user µs", "system µs", "softirq µs", "all µs")
_ROOM = 1.02
_WITHOUT_DECIMALS = 100.0


def plots(_run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell in which anybody's CPU time is known."""
    return [plot for cell in cells.of(summary) if (plot := _of_cell(cell)) is not None]


def _of_cell(cell: CellFigures) -> Plot | None:
    shown = [entry for entry in cell.entries if entry.cpu_us_per_request.total]
    if not shown:
        return None
    return Plot(
        name=f"{cell.name}-cpu",
        cell=cell.key,
        title="CPU µs per request",
        caption=_caption(shown),
        chart=_chart(shown),
        columns=_COLUMNS,
        rows=[_row(entry) for entry in shown],
    )


def _caption(shown: Sequence[CellSummary]) -> str:
    text = "What the server's CPUs spent under this load; less is cheaper."
    if all(entry.cpu_us_per_request.softirq is None for entry in shown):
        text += " It is the processes' own time, without packets that came while they slept."
    return text


def _row(entry: CellSummary) -> list[str]:
    cpu = entry.cpu_us_per_request
    return [figures.printable(entry.impl), *map(_number, (cpu.user, cpu.system, cpu.softirq, cpu.total))]


def _number(value: float | None) -> str:
    return figures.number(value, 0 if (value or 0.0) >= _WITHOUT_DECIMALS else 1)


def _parts(cpu: CpuUsPerRequest) -> list[tuple[str, float]]:
    found = [(kind, value) for kind in _KINDS if (value := getattr(cpu, kind)) is not None]
    return found or [(_UNSPLIT, cpu.total or 0.0)]


def _chart(shown: Sequence[CellSummary]) -> Chart:
    data = [datum for entry in shown for datum in _data(entry)]
    kinds = [*_KINDS, *([_UNSPLIT] if any(one["kind"] == _UNSPLIT for one in data) else [])]
    kinds = [kind for kind in kinds if any(one["kind"] == kind for one in data)]
    most = max(entry.cpu_us_per_request.total or 0.0 for entry in shown)
    across = alt.X(
        "from:Q",
        scale=alt.Scale(domain=[0, most * _ROOM], nice=False),
        axis=alt.Axis(title=None, tickCount=4, format=",~r"),
    )
    colours = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=kinds, range=[_KINDS.get(kind, style.GREY) for kind in kinds]),
        legend=alt.Legend(title=None),
    )
    down = style.names_axis()
    bars = alt.Chart(style.data(data)).mark_bar(height=style.BAR).encode(
        x=across, x2="to:Q", y=down, color=colours, description="says:N"
    )  # fmt: skip
    totals = [{"name": style.label(one.impl), "text": _number(one.cpu_us_per_request.total)} for one in shown]
    texts = style.text_above(alt.Chart(style.data(totals))).encode(x=alt.XDatum(0), y=down, text="text:N")
    return alt.layer(bars, texts).properties(height=alt.Step(style.ROW))


def _data(entry: CellSummary) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    begin, all_of_it = 0.0, _number(entry.cpu_us_per_request.total)
    for kind, value in _parts(entry.cpu_us_per_request):
        says = f"{figures.printable(entry.impl)}: {kind} {_number(value)} of {all_of_it} µs"
        found.append({"name": style.label(entry.impl), "kind": kind, "from": begin, "to": begin + value, "says": says})
        begin += value
    return found
