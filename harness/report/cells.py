"""The cells of a summary, each with its figures in the order of the ranking, and what it is about in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.report import figures
from harness.schema import Cell, CellSummary, Estimate, Ranking, Summary


@dataclass(frozen=True, slots=True)
class CellFigures:
    """One cell: who is first stands first, who is not ranked last."""

    cell: Cell
    ranking: Ranking
    entries: Sequence[CellSummary]

    @property
    def key(self) -> str:
        """The cell's name in files."""
        return self.cell.key

    @property
    def name(self) -> str:
        """The same as a part of a plot's name."""
        return self.cell.key.replace("/", "-")

    @property
    def ranks(self) -> Mapping[str, int]:
        """Who is ranked, and where."""
        return {standing.impl: standing.rank for standing in self.ranking.standings}

    @property
    def ranked_by(self) -> str:
        """What ranks are of, in words."""
        if self.ranking.by == "throughput":
            return "requests/s"
        rate = self.ranking.fixed_rate_rps
        return f"CPU per request at {rate:,} requests/s" if rate else "CPU per request"

    def ratio(self, entry: CellSummary) -> Estimate:
        """Return the ratio to the reference of what the cell is ranked by."""
        if self.ranking.by == "throughput":
            return entry.ratio
        return entry.at_fixed_rate.cpu_ratio if self.ranking.fixed_rate_rps else entry.cpu_ratio

    @property
    def load(self) -> str:
        """How it was loaded and how often each was measured, in words."""
        most = max(entry.rounds for entry in self.entries)
        was_measured = any(entry.cpu_us_per_request.total is not None for entry in self.entries)
        rounds = figures.plural(most, "round") if most or not was_measured else "no round with a rate"
        return f"{figures.load(self.cell)}, {rounds}"

    @property
    def ranking_in_words(self) -> str:
        """What it is ranked by, and why where that is not throughput."""
        if not self.ranking.standings:
            return "nothing can be ranked"
        if self.ranking.by == "throughput":
            return f"ranked by {self.ranked_by}"
        return f"ranked by {self.ranked_by}, not by throughput, because {self.ranking.reason}"


def of(summary: Summary) -> Iterator[CellFigures]:
    """Yield the cells of a summary in its order."""
    rankings = {ranking.cell: ranking for ranking in summary.rankings}
    by_cell: dict[Cell, list[CellSummary]] = {}
    for entry in summary.cells:
        by_cell.setdefault(entry.cell, []).append(entry)
    for cell, entries in by_cell.items():
        ranked = [standing.impl for standing in rankings[cell].standings]
        order = list(dict.fromkeys([*ranked, *(entry.impl for entry in entries)]))
        yield CellFigures(cell, rankings[cell], sorted(entries, key=lambda entry: order.index(entry.impl)))
