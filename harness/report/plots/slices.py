"""Throughput of every slice over time: what is noise, what drifts, and whether servers that were started afresh differ.

A server has a row of its own, on a logarithmic axis as long as that of all others: so the same height is the same share
of its throughput everywhere, and what a slow one's noise is beside a fast one's can be seen.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import altair as alt
import numpy as np

from harness.analysis.evidence import Evidence
from harness.analysis.series import Series, gather
from harness.report import cells, figures
from harness.report.plots import style
from harness.report.plots.clock import Clock
from harness.report.plots.plot import Chart, Plot
from harness.report.plots.thinning import Group, thinned
from harness.results import StoredRun
from harness.schema import Cell, Slice, Summary

MOST_MARKS: Final = 1500
"""Of all cells together, which is some 600 kB."""
FEWEST_MARKS: Final = 12
"""A server with fewer would show nothing; rather have the last cells none."""
MOST_BLOCKS: Final = 40
"""More begins of blocks than that are not marked: there would be nothing else to be seen."""
_WITHIN: Final = 0.99
"""The scale holds so many of the slices."""
_LEAST_SPAN: Final = 1.05
_MARGIN: Final = 1.03
_TICKS: Final = 10
_DIGITS: Final = 3
_ROW_PX: Final = 56
_LABELS_PX: Final = 56
_MORE_PX: Final = 24
"""What is left and right of labels and rows."""
_COLUMNS: Final = (
    "implementation", "slices", "least requests/s", "25 % below", "median", "75 % below", "most",
    "second half to the first",
)  # fmt: skip
_LEFT_OUT: Final = {
    "fixed-rate": "at a fixed rate (their throughput is what was offered)",
    "without-idle": "without idle connections",
}


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell in which a server has rates; of a run with very many, for the first of its cells."""
    by_cell = _servers(run, summary)
    colours = style.colours(run.plan.implementations)
    most = max(FEWEST_MARKS, MOST_MARKS // max(1, sum(map(len, by_cell.values()))))
    left = MOST_MARKS // most
    found: list[Plot] = []
    for cell in run.plan.cells:
        servers = by_cell.get(cell.key, {})
        if servers and (not found or len(servers) <= left):
            left -= len(servers)
            found.append(_Drawing(cell, servers, colours, most, _left_out(run.slices, cell)).plot())
    if len(found) < len(by_cell):
        more = f"The slices of {figures.plural(len(by_cell) - len(found), 'more cell')} are too many for a page."
        found[-1] = replace(found[-1], caption=f"{found[-1].caption} {more}")
    return found


def _servers(run: StoredRun, summary: Summary) -> dict[str, dict[str, Series]]:
    """Return what there is to draw, by cell and implementation."""
    measured = gather(run.plan, run.slices)
    found: dict[str, dict[str, Series]] = {}
    for cell in cells.of(summary):
        told = [entry.impl for entry in cell.entries if entry.throughput_rps.value is not None]
        if told:
            found[cell.key] = {impl: measured[cell.key, impl, "load"] for impl in told}
    return found


def _left_out(slices: Sequence[Slice], cell: Cell) -> list[str]:
    """Say what slices of a cell are not shown."""
    phases = {piece.phase for piece in slices if piece.cell == cell.key}
    return [what for phase, what in _LEFT_OUT.items() if phase in phases]


@dataclass(frozen=True)
class _Drawing:
    """The plot of one cell."""

    cell: Cell
    servers: Mapping[str, Series]
    colours: Mapping[str, str]
    most: int
    """Marks of a server."""
    left_out: Sequence[str]
    """Slices that are not shown, in words."""

    def plot(self) -> Plot:
        return Plot(
            name=f"{self.cell.key.replace('/', '-')}-slices",
            cell=self.cell.key,
            is_wide=True,
            title="Throughput of every slice over time",
            caption=" ".join(self._sentences()),
            chart=alt.vconcat(*self._rows(), spacing=4),
            columns=_COLUMNS,
            rows=[_row(impl, series) for impl, series in self.servers.items()],
        )

    @cached_property
    def clock(self) -> Clock:
        return Clock.of([piece for series in self.servers.values() for piece in series.slices.values()])

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Group]]:
        return {impl: list(thinned(_with_rate(series), self.most)) for impl, series in self.servers.items()}

    @cached_property
    def medians(self) -> Mapping[str, float]:
        return {impl: statistics.median(group.median_rps for group in groups) for impl, groups in self.groups.items()}

    @cached_property
    def is_thinned(self) -> bool:
        return any(len(group.slices) > 1 for groups in self.groups.values() for group in groups)

    @cached_property
    def offsets(self) -> Sequence[float]:
        """How far each mark is from the median of its server, as a factor of at least 1."""
        return [
            max(group.most_rps / self.medians[impl], self.medians[impl] / group.least_rps)
            for impl, groups in self.groups.items()
            for group in groups
        ]

    @cached_property
    def span(self) -> float:
        """How far the axis goes up and down from a server's median, as a factor."""
        return max(_LEAST_SPAN, float(np.quantile(self.offsets, _WITHIN)) * _MARGIN)

    @cached_property
    def begins(self) -> Sequence[float]:
        """Where the blocks but the first began; nothing where there are too many."""
        first: dict[int, float] = {}
        for series in self.servers.values():
            for piece in series.slices.values():
                first[piece.block] = min(first.get(piece.block, math.inf), self.clock.at(piece))
        begins = sorted(first.values())[1:]
        return begins if len(begins) <= MOST_BLOCKS else []

    @cached_property
    def end(self) -> float:
        return max(self.clock.at(piece) for series in self.servers.values() for piece in series.slices.values())

    def _sentences(self) -> Iterator[str]:
        if self.is_thinned:
            most = max(len(group.slices) for groups in self.groups.values() for group in groups)
            yield (
                f"A line goes from the slowest to the fastest of {most} slices or fewer in a row; the dot is their "
                "median."
            )
        else:
            yield "A dot is a slice."
        yield (
            "The same height is the same share of its median in every row: what moves all rows is the machine, and "
            "cancels in ratios; what moves one alone is that server."
        )
        if self.begins:
            yield "At dashed lines the servers were started afresh."
        beyond = sum(offset > self.span for offset in self.offsets)
        if beyond:
            yield f"{figures.plural(beyond, 'mark')} beyond the scale {_is_or_are(beyond)} drawn at its edge."
        if self.left_out:
            yield f"Slices {figures.listing(self.left_out)} are left out."
        lack = sum(series.missing for series in self.servers.values())
        if lack:
            yield f"{figures.plural(lack, 'slice')} too short to tell a rate {_is_or_are(lack)} left out."

    def _rows(self) -> Iterator[Chart]:
        last = list(self.servers)[-1]
        for impl in self.servers:
            height = {"width": style.WIDE - _LABELS_PX - _MORE_PX, "height": _ROW_PX}
            title = alt.TitleParams(
                figures.printable(impl), anchor="start", fontSize=style.FONT_SIZE, offset=2, color=style.TEXT
            )
            marks = self._marks(impl, self._x(is_last=impl == last))
            yield alt.layer(*self._blocks(), *marks).properties(title=title, **height)

    def _x(self, *, is_last: bool) -> alt.X:
        return alt.X(
            "at:Q",
            title=self.clock.title if is_last else None,
            scale=alt.Scale(domain=[0, self.end or 1], nice=False),
            axis=alt.Axis(labels=is_last, ticks=is_last, tickCount=_TICKS),
        )

    def _y(self, field: str, impl: str) -> alt.Y:
        median, span = self.medians[impl], self.span
        ticks = [_rounded(figure) for figure in (median / span, median, median * span)]
        return alt.Y(
            f"{field}:Q",
            title=None,
            scale=alt.Scale(type="log", domain=[min(*ticks), max(*ticks)], nice=False, clamp=True),
            axis=alt.Axis(values=ticks, format=",~f", minExtent=_LABELS_PX),
        )

    def _marks(self, impl: str, x: alt.X) -> Iterator[alt.Chart]:
        groups, name = self.groups[impl], figures.printable(impl)
        rows = [
            {
                "at": self.clock.at(group.middle),
                "least": group.least_rps,
                "median": group.median_rps,
                "most": group.most_rps,
                "says": f"{name}, {self.clock.told(group.middle)}: {_told(group)}",
            }
            for group in groups
        ]
        chart = alt.Chart(style.data(rows)).encode(x=x, color=alt.value(self.colours[impl]))
        if self.is_thinned:
            yield chart.mark_rule(aria=False, opacity=0.5).encode(y=self._y("least", impl), y2="most:Q")
        yield chart.mark_circle(size=20, opacity=0.85).encode(y=self._y("median", impl), description="says:N")

    def _blocks(self) -> Iterator[alt.Chart]:
        if self.begins:
            chart = alt.Chart(style.data([{"at": at} for at in self.begins]))
            yield chart.mark_rule(aria=False, strokeDash=[3, 3], color=style.QUIET).encode(x="at:Q")


def _rounded(figure: float) -> float:
    return float(f"{figure:.{_DIGITS}g}")


def _with_rate(series: Series) -> list[Slice]:
    return [series.slices[number] for number in series.rates_rps]


def _told(group: Group) -> str:
    errors = sum(sum(piece.errors.values()) for piece in group.slices)
    noted = f", {figures.plural(errors, 'error')}" if errors else ""
    if len(group.slices) == 1:
        return f"{group.median_rps:,.0f} requests/s{noted}"
    return (
        f"{group.least_rps:,.0f} to {group.most_rps:,.0f} requests/s, median {group.median_rps:,.0f}, "
        f"of {figures.plural(len(group.slices), 'slice')}{noted}"
    )


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _row(impl: str, series: Series) -> list[str]:
    found = Evidence(series)
    trend = figures.NONE if found.trend is None else f"{found.trend:.3f}"
    return [
        figures.printable(impl),
        f"{len(found.rates_rps):,}",
        *(f"{rate:,.0f}" for rate in found.rate_quantiles_rps),
        trend,
    ]
