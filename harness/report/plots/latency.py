"""Latency by percentile in each cell, with as much room for each nine as for the one before."""

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from harness.analysis.latency import WHOLE, LatencyHistogram
from harness.report import cells, figures
from harness.report.cells import CellFigures
from harness.report.plots import scale, style
from harness.report.plots.plot import Chart, Plot
from harness.results import StoredRun
from harness.schema import Summary

_BEYOND = 10
"""So many latencies at least are longer than the last that is shown."""
_STEPS_PER_NINE = 8
_MARKED = (2.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7)
"""One of so many is longer: the percentiles 50, 90, 99 and so on, that the table has."""
_NS_PER_MS = 1e6
_WITHOUT_DECIMALS = 1000.0
_MOST_WITH_LEGEND = 12
_ROOM = 1.1
_HEIGHT = 260
_LABELS = "format(100 - 100 / datum.value, '.6~f') + ' %'"


class _Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]
    """One of how many is longer, and than how many milliseconds."""
    marked: Sequence[tuple[float, float]]


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell of which latencies are stored."""
    return [plot for cell in cells.of(summary) if (plot := _of_cell(run, cell)) is not None]


def _of_cell(run: StoredRun, cell: CellFigures) -> Plot | None:
    lines = []
    for entry in cell.entries:
        histogram = run.histograms.get((cell.key, entry.impl, WHOLE))
        if histogram is not None and entry.latency_us.p50 is not None:
            lines.append(_line(entry.impl, histogram))
    lines = [line for line in lines if line.marked]
    if not lines:
        return None
    since = ", from when each was due" if cell.cell.rate_rps else ""
    return Plot(
        name=f"{cell.name}-latency",
        cell=cell.key,
        title="Latency by percentile, ms",
        caption=f"So many per cent of the requests took no longer{since}. A line ends where fewer than {_BEYOND} took "
        "longer: what these say is chance.",
        chart=_chart(run, lines),
        columns=["implementation", *(f"{_percentile(nines)} %" for nines in _all_marked(lines))],
        rows=[_row(line, _all_marked(lines)) for line in lines],
    )


def _line(name: str, histogram: LatencyHistogram) -> _Line:
    most = histogram.total / _BEYOND
    steps = range(_STEPS_PER_NINE * len(_MARKED))
    wanted = sorted({*(10 ** (step / _STEPS_PER_NINE) for step in steps), *_MARKED})
    found = [(one_of, histogram.value_ns(1 - 1 / one_of) / _NS_PER_MS) for one_of in wanted if one_of <= most]
    return _Line(name, found, [point for point in found if point[0] in _MARKED])


def _all_marked(lines: Sequence[_Line]) -> list[float]:
    return sorted({one_of for line in lines for one_of, _ in line.marked})


def _percentile(one_of: float) -> str:
    return f"{100 - 100 / one_of:.6f}".rstrip("0").rstrip(".")


def _row(line: _Line, marked: Sequence[float]) -> list[str]:
    known = dict(line.marked)
    return [figures.printable(line.name), *(_ms(known.get(one_of)) for one_of in marked)]


def _ms(value: float | None) -> str:
    return figures.NONE if value is None else f"{value:,.3g}" if value < _WITHOUT_DECIMALS else f"{value:,.0f}"


def _chart(run: StoredRun, lines: Sequence[_Line]) -> Chart:
    names = {line.name: figures.printable(line.name, 60) for line in lines}
    shades, dashes = style.colours(run.plan.implementations), style.dashes(run.plan.implementations)
    order = list(names.values())
    colour = alt.Color(
        "name:N",
        scale=alt.Scale(domain=order, range=[shades[line.name] for line in lines]),
        legend=alt.Legend(title=None, columns=2) if len(lines) <= _MOST_WITH_LEGEND else None,
    )
    dash = alt.StrokeDash(
        "name:N", scale=alt.Scale(domain=order, range=[dashes[line.name] for line in lines]), legend=None
    )
    across = alt.X("one_of:Q", scale=_across(lines), axis=alt.Axis(title=None, values=list(_MARKED), labelExpr=_LABELS))
    up = _up(lines)
    curves = alt.Chart(style.data(_data(lines, names))).mark_line(aria=False, strokeWidth=2).encode(
        x=across, y=up, color=colour, strokeDash=dash
    )  # fmt: skip
    dots = alt.Chart(style.data(_marked_data(lines, names))).mark_point(filled=True, size=40).encode(
        x=across, y=up, color=colour, description="says:N"
    )  # fmt: skip
    return alt.layer(curves, dots).properties(height=_HEIGHT)


def _across(lines: Sequence[_Line]) -> alt.Scale:
    most = max(one_of for line in lines for one_of, _ in line.points)
    return alt.Scale(type="log", domain=[1, most * _ROOM], nice=False)


def _up(lines: Sequence[_Line]) -> alt.Y:
    values = [ms for line in lines for _, ms in line.points if ms > 0]
    low, high = min(values) / _ROOM, max(values) * _ROOM
    axis = alt.Axis(title=None, values=scale.log_ticks(low, high), format="~g")
    return alt.Y("ms:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)


def _data(lines: Sequence[_Line], names: dict[str, str]) -> list[dict[str, object]]:
    return [
        {"name": names[line.name], "one_of": one_of, "ms": ms} for line in lines for one_of, ms in line.points if ms > 0
    ]


def _marked_data(lines: Sequence[_Line], names: dict[str, str]) -> list[dict[str, object]]:
    return [
        {
            "name": names[line.name], "one_of": one_of, "ms": ms,
            "says": f"{names[line.name]}: {_percentile(one_of)} % within {_ms(ms)} ms",
        }
        for line in lines
        for one_of, ms in line.marked
        if ms > 0
    ]  # fmt: skip
