"""A summary as tables for a terminal of WIDTH columns, with the evidence under each and one sentence at the end."""

from collections.abc import Sequence

from harness.report import figures, tables
from harness.report.environment import changed
from harness.report.figures import WIDTH
from harness.report.sentence import sentence
from harness.schema import Cell, CellSummary, Ranking, Summary

_LEGEND = (
    "Before a name stands its rank. Ranges are 95 % intervals. Ratios are to {reference}, taken within each round; a "
    "tie is where the interval holds 1. p50 to p99.9: so many per cent of the latencies are below that. "
    "CPU is what the server's CPUs spent, user + system + softirq; a CPU ratio below 1 is cheaper."
)


def render(summary: Summary) -> str:
    """Return the report: tables for each cell, then the sentence."""
    parts = [_cell(summary, cell) for cell in dict.fromkeys(entry.cell for entry in summary.cells)]
    parts.append(figures.wrap(_LEGEND.format(reference=figures.printable(summary.reference)), WIDTH))
    if all(entry.ratio.value is None for entry in summary.cells if entry.impl == summary.reference):
        parts.append(
            f"There are no ratios, because the reference, {figures.printable(summary.reference)}, has no figures."
        )
    if summary.interrupted:
        parts.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    if summary.precision is not None:
        parts.append(figures.wrap(_precision(summary.precision, summary.precision_missed), WIDTH))
    if summary.environment_changes:
        parts.append(changed(summary.environment_changes, WIDTH))
    parts.append(sentence(summary, WIDTH))
    return "\n\n".join(parts) + "\n"


def _precision(asked_for: float, missed: Sequence[str]) -> str:
    share = f"± {figures.per_cent(asked_for)} %"
    if not missed:
        return f"Every interval of a ratio (of requests/s where there is none) is within {share}, as asked for."
    return f"The budget was spent, or the run ended, before every interval was within {share}: {', '.join(missed)}."


def _cell(summary: Summary, cell: Cell) -> str:
    ranking = next(ranking for ranking in summary.rankings if ranking.cell == cell)
    ranks = {standing.impl: standing.rank for standing in ranking.standings}
    entries = [entry for entry in summary.cells if entry.cell == cell]
    order = list(dict.fromkeys([*ranks, *(entry.impl for entry in entries)]))
    entries.sort(key=lambda entry: order.index(entry.impl))
    parts = [_heading(cell, entries, ranking), tables.performance(entries, ranks, summary.reference)]
    parts += [tables.times(entries)] if any(entry.first_byte_us.p50 is not None for entry in entries) else []
    parts.append(tables.costs(entries, summary.reference))
    parts += [tables.with_idle(entries)] if cell.idle else []
    parts.append("\n".join(_evidence(entries)))
    return "\n\n".join(parts)


def _heading(cell: Cell, entries: Sequence[CellSummary], ranking: Ranking) -> str:
    rounds = figures.plural(max(entry.rounds for entry in entries), "round")
    title = f"{cell.workload.upper()}: {figures.load(cell)}, {rounds}"
    if not ranking.standings:
        return f"{title}; nothing can be ranked"
    if ranking.by == "throughput":
        return f"{title}; ranked by requests/s"
    at = f" at {ranking.fixed_rate_rps:,} requests/s" if ranking.fixed_rate_rps else ""
    text = f"{title}; ranked by CPU per request{at}, not by throughput, because {ranking.reason}"
    return figures.wrap(text, WIDTH, hanging="  ")


def _evidence(entries: Sequence[CellSummary]) -> list[str]:
    names = [figures.printable(entry.impl) for entry in entries]
    width = max(map(len, names))
    return [
        figures.wrap(
            f"{entry.verdict}: {figures.printable(entry.evidence)}", WIDTH, f"  {name:<{width}}  ", " " * (width + 4)
        )
        for name, entry in zip(names, entries, strict=True)
    ]
