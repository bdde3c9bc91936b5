"""Scaling: requests/s against workers with the fitted law and where it leads, and speed-up beside the ideal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from harness.analysis.scaling import curve
from harness.analysis.series import Series, gather
from harness.report import figures
from harness.report.plots import style
from harness.report.plots.plot import Plot
from harness.report.plots.scaling_chart import ScalingChart, Server
from harness.report.scaling_law import told
from harness.results import StoredRun
from harness.schema import Estimate, Phase, Plan, Scaling, Summary, Workload

_CURVE_POINTS: Final = 40
_POINTS: Final = (
    "Whiskers are 95 % intervals; hollow where something else than the server was the limit. Dotted: as many times the "
    "first point as there are more workers."
)
_LAWS: Final = (
    "Lines are the Universal Scalability Law as fitted, in its 95 % band; dashed and with diamonds where it is "
    "extrapolated, which is an assumption."
)
_COLUMNS: Final = (
    "implementation", "workers", "requests/s", "95 % interval", "speed-up", "95 % interval", "efficiency, %", "verdict",
)  # fmt: skip


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return two plots for each workload of a run that asked how servers scale."""
    measured = gather(run.plan, run.slices)
    found: list[Plot] = []
    for workload in dict.fromkeys(one.workload for one in summary.scaling):
        servers = [*_servers(run.plan, measured, summary, workload)]
        if any(server.points for server in servers):
            found.append(_throughput(workload, servers))
        if any(point.speed_up.value is not None for server in servers for point, _ in server.points[1:]):
            found.append(_speed_up(workload, servers))
    return found


def _servers(
    plan: Plan, measured: Mapping[tuple[str, str, Phase], Series], summary: Summary, workload: Workload
) -> Iterator[Server]:
    colours = style.colours(plan.implementations)
    entries = {(one.impl, one.workers, one.concurrency): one for one in summary.cells if one.workload == workload}
    for one in summary.scaling:
        if one.workload == workload:
            pairs = [(point, entries[one.impl, point.workers, point.concurrency]) for point in one.points]
            law = curve(plan, measured, one, _numbers(one, plan.extrapolate_to)) if one.law else ()
            with_rate = [(point, entry) for point, entry in pairs if entry.throughput_rps.value is not None]
            yield Server(one, with_rate, law, colours[one.impl])


def _numbers(scaling: Scaling, beyond: Sequence[int]) -> list[int]:
    """Return for how many workers the law is drawn: for those that there are figures of, and some between."""
    known = [*(point.workers for point in scaling.points), *beyond]
    between = np.geomspace(min(known), max(known), _CURVE_POINTS)
    return sorted({*known, *(round(float(number)) for number in between)})


def _throughput(workload: Workload, servers: Sequence[Server]) -> Plot:
    without_law = [server.scaling for server in servers if server.scaling.law is None]
    parts = [_POINTS, *([_LAWS] if any(server.law for server in servers) else [])]
    parts += told(without_law) if any(len(one.points) > 1 for one in without_law) else []
    return Plot(
        name=f"{workload}-scaling",
        title=f"{workload}: requests/s against workers",
        caption=" ".join(parts),
        is_wide=True,
        chart=ScalingChart(servers, lambda _, entry: entry.throughput_rps, "requests/s", with_laws=True).draw(),
        columns=_COLUMNS,
        rows=[row for server in servers for row in _rows(server)],
    )


def _speed_up(workload: Workload, servers: Sequence[Server]) -> Plot:
    return Plot(
        name=f"{workload}-speed-up",
        title=f"{workload}: speed-up against workers",
        caption=f"Requests/s to those with the fewest workers, taken within each round. {_POINTS}",
        is_wide=True,
        chart=ScalingChart(servers, lambda point, _: point.speed_up, "times as much").draw(),
        columns=_COLUMNS,
        rows=[row for server in servers for row in _rows(server)],
    )


def _rows(server: Server) -> Iterator[list[str]]:
    name = figures.printable(server.scaling.impl)
    for point, entry in server.points:
        efficiency = point.efficiency.value
        yield [
            name, f"{point.workers:,}", *_figure(entry.throughput_rps, 0), *_figure(point.speed_up, 2),
            figures.NONE if efficiency is None else figures.per_cent(efficiency), entry.verdict,
        ]  # fmt: skip
    for one in server.extrapolated:
        beyond = [figures.NONE, "", figures.NONE, "extrapolated, not measured"]
        yield [name, f"{one.workers:,}", *_figure(one.throughput_rps, 0), *beyond]


def _figure(known: Estimate, decimals: int) -> list[str]:
    return [figures.number(known.value, decimals), figures.interval(known, decimals)]
