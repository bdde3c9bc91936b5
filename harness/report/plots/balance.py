"""How evenly the workers of a server share its connections: a dot for each, and a line where all would be if evenly."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from harness.analysis.series import gather
from harness.report import cells, figures
from harness.report.plots import style
from harness.report.plots.plot import Plot
from harness.results import StoredRun
from harness.schema import PlannedCell, Summary

MOST_DOTS: Final = 24
"""With more workers than that the range of their shares is drawn, and not a dot for each."""
_TICKS: Final = 6
_COLUMNS: Final = (
    "implementation", "connections", "least of a worker, %", "25 % of workers below, %", "median, %", "75 % below, %",
    "most, %",
)  # fmt: skip

Accepted = Mapping[str, Sequence[int]]
"""Connections that each worker has accepted, by implementation."""


def plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return a plot for each cell with several workers that have told of their connections."""
    measured = gather(run.plan, run.slices)
    colours = style.colours(run.plan.implementations)
    found = []
    entries = {one.key: one.entries for one in cells.of(summary)}
    for cell in run.plan.cells:
        told = [entry.impl for entry in entries[cell.key] if entry.worker_balance.max_share]
        if cell.workers > 1 and told:
            accepted = {impl: measured[cell.key, impl, "load"].worker_accepted for impl in told}
            found.append(_plot(cell, accepted, colours))
    return found


def _plot(cell: PlannedCell, accepted: Accepted, colours: Mapping[str, str]) -> Plot:
    has_dots = cell.workers <= MOST_DOTS
    seen = "A dot is a worker" if has_dots else "A line goes from the least to the most, thick where half of them are"
    marks = _dots(cell, accepted, colours) if has_dots else _ranges(accepted, colours)
    return Plot(
        name=f"{cell.key.replace('/', '-')}-balance",
        cell=cell.key,
        title="Share of the connections that each worker has",
        caption=f"{seen}; the dashed line is where all {cell.workers} are if they share evenly.",
        chart=alt.layer(_even(cell), *marks).properties(height=alt.Step(style.ROW)),
        columns=_COLUMNS,
        rows=[_row(impl, counts) for impl, counts in accepted.items()],
    )


def _even(cell: PlannedCell) -> alt.Chart:
    share = 100 / cell.workers
    rule = alt.Chart(style.data([{"share": share}])).mark_rule(aria=False, strokeDash=[4, 3], color=style.QUIET)
    placed: alt.Chart = rule.encode(x=_x("share"))
    return placed


def _dots(cell: PlannedCell, accepted: Accepted, colours: Mapping[str, str]) -> list[alt.Chart]:
    rows = [
        {
            "name": style.label(impl),
            "colour": colours[impl],
            "share": share,
            "says": f"{figures.printable(impl)}, worker {number}{_on(cell, number)}: {share:.2f} % "
            f"of {figures.plural(sum(counts), 'connection')}",
        }
        for impl, counts in accepted.items()
        for number, share in enumerate(_per_cent(counts))
    ]
    return [_marked(rows).mark_circle(size=90, opacity=0.8).encode(x=_x("share"), description="says:N")]


def _on(cell: PlannedCell, worker: int) -> str:
    return f" on CPU {cell.server_cpus[worker]}" if worker < len(cell.server_cpus) else ""


def _ranges(accepted: Accepted, colours: Mapping[str, str]) -> list[alt.Chart]:
    rows = []
    for impl, counts in accepted.items():
        least, quarter, median, three_quarters, most = _quartiles(_per_cent(counts))
        says = (
            f"{figures.printable(impl)}: {least:.2f} to {most:.2f} % of {figures.plural(sum(counts), 'connection')}, "
            f"half of the workers {quarter:.2f} to {three_quarters:.2f} %, median {median:.2f} %"
        )
        row = {"name": style.label(impl), "colour": colours[impl], "says": says, "least": least, "most": most}
        rows.append({**row, "quarter": quarter, "median": median, "three_quarters": three_quarters})
    marked = _marked(rows)
    return [
        marked.mark_rule(aria=False).encode(x=_x("least"), x2="most:Q"),
        marked.mark_bar(size=8).encode(x=_x("quarter"), x2="three_quarters:Q", description="says:N"),
        marked.mark_tick(aria=False, size=18, thickness=2).encode(x=_x("median")),
    ]


def _marked(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(style.data(rows)).encode(y=style.names_axis(), color=alt.Color("colour:N", scale=None))


def _x(field: str) -> alt.X:
    axis = alt.Axis(title="per cent of all connections", tickCount=_TICKS)
    return alt.X(f"{field}:Q", scale=alt.Scale(zero=True, nice=True), axis=axis)


def _per_cent(counts: Sequence[int]) -> list[float]:
    return [100 * count / sum(counts) for count in counts]


def _quartiles(values: Sequence[float]) -> list[float]:
    """Return the least, what a quarter, half and three quarters are below, and the most."""
    return [min(values), *statistics.quantiles(values, n=4, method="inclusive"), max(values)]


def _row(impl: str, counts: Sequence[int]) -> list[str]:
    return [figures.printable(impl), f"{sum(counts):,}", *(f"{part:.2f}" for part in _quartiles(_per_cent(counts)))]
