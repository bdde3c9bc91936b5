"""Drawing figures against workers: points, laws in their bands, and the ideal, on two logarithmic axes.

There the ideal is a straight line, and as far below it as a point is, so much is lost, for few workers as for many.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import altair as alt

from harness.analysis.verdicts import SERVER_BOUND
from harness.report import figures
from harness.report.plots import scale, style
from harness.report.plots.plot import Chart
from harness.schema import CellSummary, Estimate, Extrapolation, Scaling, ScalingPoint

_ROOM: Final = 1.15
"""How far axes go on beyond the outermost mark, as a factor."""
_HEIGHT: Final = 320
_BAND: Final = 0.15
_WHOLE_FROM: Final = 100.0
_LEGEND_COLUMNS: Final = 4

Figure = Callable[[ScalingPoint, CellSummary], Estimate]
Datum = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """One implementation with one workload."""

    scaling: Scaling
    points: Sequence[tuple[ScalingPoint, CellSummary]]
    """Those with a rate."""
    law: Sequence[Extrapolation]
    """What the fitted law says of numbers of workers; empty without one."""
    colour: str

    @property
    def largest(self) -> int:
        """The most workers that were measured."""
        return self.scaling.points[-1].workers

    @property
    def extrapolated(self) -> Sequence[Extrapolation]:
        """What was asked for beyond that."""
        return self.scaling.law.extrapolations if self.scaling.law else ()


@dataclass(frozen=True)
class ScalingChart:
    """A chart of one figure of each point."""

    servers: Sequence[Server]
    figure: Figure
    unit: str
    """What follows the figure in words."""
    with_laws: bool = False

    def draw(self) -> Chart:
        """Return the chart."""
        layers = [*self._ideals(), *self._laws(), *self._points()]
        return alt.layer(*layers).properties(height=_HEIGHT)

    @cached_property
    def _measured(self) -> list[Datum]:
        return [
            self._datum(server, point.workers, self.figure(point, entry), entry.verdict)
            for server in self.servers
            for point, entry in server.points
            if self.figure(point, entry).value is not None
        ]

    @cached_property
    def _extrapolated(self) -> list[Datum]:
        return [
            self._datum(server, one.workers, one.throughput_rps, "extrapolated")
            for server in self.servers
            for one in (server.extrapolated if self.with_laws else ())
        ]

    def _datum(self, server: Server, workers: int, known: Estimate, noted: str) -> Datum:
        name = figures.printable(server.scaling.impl)
        decimals = 0 if (known.value or 0.0) >= _WHOLE_FROM else 2
        value, interval = figures.number(known.value, decimals), figures.interval(known, decimals)
        return {
            "name": name, "workers": workers, "value": known.value, "low": known.low, "high": known.high,
            "colour": server.colour, "inner": server.colour if noted == SERVER_BOUND else style.PAGE,
            "says": f"{name}, {figures.plural(workers, 'worker')}: {value} {self.unit} ({interval}), {noted}",
        }  # fmt: skip

    def _x(self) -> alt.X:
        workers = sorted({row["workers"] for row in [*self._measured, *self._extrapolated]})
        domain = [workers[0] / _ROOM, workers[-1] * _ROOM]
        axis = alt.Axis(title="workers", values=workers, format="~s")
        return alt.X("workers:Q", scale=alt.Scale(type="log", nice=False, domain=domain), axis=axis)

    def _y(self, field: str) -> alt.Y:
        rows = [*self._measured, *self._extrapolated]
        domain = [min(row["low"] for row in rows) / _ROOM, max(row["high"] for row in rows) * _ROOM]
        axis = alt.Axis(title=None, values=scale.log_ticks(*domain), format=",~g")
        return alt.Y(f"{field}:Q", scale=alt.Scale(type="log", nice=False, domain=domain), axis=axis)

    def _ideals(self) -> Iterator[alt.Chart]:
        """Yield, from each server's first point, as many times its figure as there are more workers."""
        most = max(row["workers"] for row in [*self._measured, *self._extrapolated])
        for server in self.servers:
            own = [row for row in self._measured if row["colour"] == server.colour]
            if own:
                least, value = own[0]["workers"], own[0]["value"]
                ends = [{"workers": least, "value": value}, {"workers": most, "value": value * most / least}]
                yield self._line(ends, style.QUIET, [1, 3])

    def _laws(self) -> Iterator[alt.Chart]:
        """Yield the laws in their bands, dashed beyond what was measured, and what was asked for there."""
        for server in self.servers if self.with_laws else ():
            rows = [self._datum(server, one.workers, one.throughput_rps, "") for one in server.law]
            if rows:
                band = self._chart(rows).mark_area(aria=False, opacity=_BAND, color=server.colour)
                yield band.encode(y=self._y("low"), y2="high:Q")
                yield self._line([row for row in rows if row["workers"] <= server.largest], server.colour, [1, 0])
                yield self._line([row for row in rows if row["workers"] >= server.largest], server.colour, [6, 4])

    def _points(self) -> Iterator[alt.Chart]:
        for rows, shape in ((self._measured, "circle"), (self._extrapolated, "diamond")):
            if rows:
                whiskers = self._chart(rows).mark_rule(aria=False, strokeWidth=2)
                yield whiskers.encode(y=self._y("low"), y2="high:Q", color=alt.Color("colour:N", scale=None))
                marks = self._chart(rows).mark_point(size=80, strokeWidth=2, shape=shape)
                yield marks.encode(
                    y=self._y("value"),
                    stroke=alt.Stroke("name:N", scale=self._colours(), legend=_legend()),
                    fill=alt.Fill("inner:N", scale=None),
                    description="says:N",
                )

    def _colours(self) -> alt.Scale:
        names = [figures.printable(server.scaling.impl) for server in self.servers]
        return alt.Scale(domain=names, range=[server.colour for server in self.servers])

    def _line(self, rows: Sequence[Datum], colour: str, dash: Sequence[int]) -> alt.Chart:
        line = self._chart(rows).mark_line(aria=False, clip=True, strokeDash=list(dash), strokeWidth=1.5, color=colour)
        placed: alt.Chart = line.encode(y=self._y("value"))
        return placed

    def _chart(self, rows: Sequence[Datum]) -> alt.Chart:
        return alt.Chart(style.data(rows)).encode(x=self._x())


def _legend() -> alt.Legend:
    return alt.Legend(title=None, columns=_LEGEND_COLUMNS, symbolFillColor=style.PAGE)
