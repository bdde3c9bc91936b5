"""A summary as tables for a terminal of WIDTH columns, with the evidence under each and one sentence at the end."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tabulate import tabulate

from harness.report import figures
from harness.report.sentence import sentence
from harness.schema import Cell, CellSummary, Estimate, Ranking, Summary

WIDTH = 120

_NAME_WIDTH = 13
_SHOW_MS_FROM_US = 10_000.0
_SHOW_THOUSANDS_FROM_RPS = 1_000_000.0
_SHOW_WHOLE_US_FROM = 100.0
_ALIGNMENT = ("left", *["right"] * 8, "left")
_LEGEND = (
    "Before a name stands its rank. Ranges are 95 % intervals. Ratios are to {reference}, taken within each round; a "
    "tie is where the interval holds 1. p50 to p99.9: so many per cent of the latencies are below that. "
    "CPU is the server's own time, user + system; a CPU ratio below 1 is cheaper."
)


def render(summary: Summary) -> str:
    """Return the report: a table for each cell, then the sentence."""
    parts = [_table(summary, cell) for cell in dict.fromkeys(entry.cell for entry in summary.cells)]
    parts.append(figures.wrap(_LEGEND.format(reference=figures.printable(summary.reference)), WIDTH))
    if all(entry.ratio.value is None for entry in summary.cells if entry.impl == summary.reference):
        parts.append(
            f"There are no ratios, because the reference, {figures.printable(summary.reference)}, has no figures."
        )
    if summary.interrupted:
        parts.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    parts.append(sentence(summary, WIDTH))
    return "\n\n".join(parts) + "\n"


def _table(summary: Summary, cell: Cell) -> str:
    ranking = next(ranking for ranking in summary.rankings if ranking.cell == cell)
    ranks = {standing.impl: standing.rank for standing in ranking.standings}
    entries = [entry for entry in summary.cells if entry.cell == cell]
    order = list(dict.fromkeys([*ranks, *(entry.impl for entry in entries)]))
    entries.sort(key=lambda entry: order.index(entry.impl))
    units = _Units.fitting(entries)
    rows = [_row(entry, ranks.get(entry.impl), units, summary.reference) for entry in entries]
    headers = units.headers()
    table = tabulate(
        rows, headers, tablefmt="simple", disable_numparse=True, colalign=_ALIGNMENT, headersalign=_ALIGNMENT
    )
    return "\n".join([_heading(cell, entries, ranking), "", table, "", *_evidence(entries)])


def _heading(cell: Cell, entries: Sequence[CellSummary], ranking: Ranking) -> str:
    rounds = figures.plural(max(entry.rounds for entry in entries), "round")
    title = f"{cell.workload.upper()}: {figures.load(cell)}, {rounds}"
    if not ranking.standings:
        return f"{title}; nothing can be ranked"
    if ranking.by == "throughput":
        return f"{title}; ranked by requests/s"
    text = f"{title}; ranked by CPU per request, not by requests/s, because {ranking.reason}"
    return figures.wrap(text, WIDTH, hanging="  ")


@dataclass(frozen=True)
class _Units:
    """The units of one table: the same in all its rows, and large enough for short figures."""

    in_thousands: bool
    longest_us: float
    """The largest latency that is shown."""

    @classmethod
    def fitting(cls, entries: Sequence[CellSummary]) -> Self:
        return cls(
            in_thousands=any((entry.throughput_rps.high or 0) >= _SHOW_THOUSANDS_FROM_RPS for entry in entries),
            longest_us=max(entry.latency_us.p99_9 or 0.0 for entry in entries),
        )

    @property
    def in_ms(self) -> bool:
        return self.longest_us >= _SHOW_MS_FROM_US

    def headers(self) -> list[str]:
        time = "ms" if self.in_ms else "µs"
        rate = "1000\nrequests/s" if self.in_thousands else "requests/s"
        latencies = [f"{percentile}\n{time}" for percentile in ("p50", "p99", "p99.9")]
        return ["", rate, "ratio", *latencies, "CPU µs\n/request", "CPU ratio", "errors", "verdict"]

    def rate(self, throughput_rps: Estimate) -> str:
        decimals = 1 if self.in_thousands else 0
        value, low, high = (
            rps / 1000 if self.in_thousands and rps is not None else rps
            for rps in (throughput_rps.value, throughput_rps.low, throughput_rps.high)
        )
        return f"{figures.number(value, decimals)}\n{figures.interval(Estimate(value, low, high), decimals)}"

    def latency(self, value_us: float | None) -> str:
        if value_us is None:
            return figures.NONE
        if not self.in_ms:
            return figures.number(value_us, 0)
        return figures.number(value_us / 1000, max(0, 6 - int(math.log10(self.longest_us))))


def _row(entry: CellSummary, rank: int | None, units: _Units, reference: str) -> list[str]:
    latency, cpu = entry.latency_us, entry.cpu_us_per_request
    decimals = 0 if (cpu.total or 0) >= _SHOW_WHOLE_US_FROM else 1
    split = (
        f"{figures.number(cpu.user, decimals)} + {figures.number(cpu.system, decimals)}" if cpu.user is not None else ""
    )
    name = textwrap.wrap(figures.printable(entry.impl), _NAME_WIDTH)
    return [
        f"{rank or figures.NONE} " + "\n  ".join(name),
        units.rate(entry.throughput_rps),
        _ratio(entry.ratio, is_reference=entry.impl == reference),
        units.latency(latency.p50),
        units.latency(latency.p99),
        units.latency(latency.p99_9),
        f"{figures.number(cpu.total, decimals)}\n{split}",
        _ratio(entry.cpu_ratio, is_reference=entry.impl == reference),
        f"{entry.errors:,}",
        entry.verdict,
    ]


def _ratio(ratio: Estimate, *, is_reference: bool) -> str:
    if ratio.value is None:
        return figures.NONE
    if is_reference:
        return "reference"
    decimals = figures.ratio_decimals(ratio)
    tie = "tie " if ratio.holds(1.0) else ""
    return f"{tie}{figures.number(ratio.value, decimals)}\n{figures.interval(ratio, decimals)}"


def _evidence(entries: Sequence[CellSummary]) -> list[str]:
    names = [figures.printable(entry.impl) for entry in entries]
    width = max(map(len, names))
    return [
        figures.wrap(
            f"{entry.verdict}: {figures.printable(entry.evidence)}", WIDTH, f"  {name:<{width}}  ", " " * (width + 4)
        )
        for name, entry in zip(names, entries, strict=True)
    ]
