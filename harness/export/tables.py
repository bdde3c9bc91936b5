"""The tables of a run: what their rows are, and which columns they have."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.export.columns import Column, of
from harness.export.formats import TableName
from harness.profile_schema import ImplementationProfile, Part, Profile
from harness.schema import CellSummary, Plan, Scaling, ScalingLaw, ScalingPoint, Slice, Summary


class Table(NamedTuple):
    """A table, of which the rows come one by one."""

    name: TableName
    plan: Plan
    """Of the run that it is of."""
    columns: list[Column]
    rows: Iterable[object]


class _Place(NamedTuple):
    """An entry of a summary, and its place among those of the cell."""

    entry: CellSummary
    rank: int | None
    ranked_by: str | None


class _Point(NamedTuple):
    scaling: Scaling
    point: ScalingPoint


class _Part(NamedTuple):
    profile: Profile
    one: ImplementationProfile
    by: str
    part: Part


def summary(run: str, plan: Plan, judged: Summary) -> Table:
    """Make a row for each implementation in each cell of a run, which is called ``run``."""
    columns = [
        *_of_run(run, plan),
        Column("cell", "text", lambda row: row.entry.cell.key),
        *of(CellSummary, lambda row: row.entry),
        Column("rank", "integer", lambda row: row.rank),
        Column("ranked_by", "text", lambda row: row.ranked_by),
    ]
    return Table("summary", plan, columns, _places(judged))


def _places(judged: Summary) -> Iterator[_Place]:
    ranks = {
        (ranking.cell, standing.impl): (standing.rank, ranking.by)
        for ranking in judged.rankings
        for standing in ranking.standings
    }
    for entry in judged.cells:
        yield _Place(entry, *ranks.get((entry.cell, entry.impl), (None, None)))


def slices(run: str, plan: Plan, stored: Iterable[Slice]) -> Table:
    """Make a row for each slice, in the order in which they were measured."""
    return Table("slices", plan, [*_of_run(run, plan), *of(Slice, lambda row: row)], stored)


def scaling(run: str, plan: Plan, judged: Summary) -> Table:
    """Make a row for each number of workers of each implementation, with the law that was fitted to all of them."""
    columns = [
        *_of_run(run, plan),
        Column("impl", "text", lambda row: row.scaling.impl),
        Column("workload", "text", lambda row: row.scaling.workload),
        *of(ScalingPoint, lambda row: row.point),
        *of(ScalingLaw, lambda row: row.scaling.law, "law"),
        Column("why_no_law", "text", lambda row: row.scaling.why_no_law),
    ]
    return Table("scaling", plan, columns, (_Point(one, point) for one in judged.scaling for point in one.points))


def profile(run: str, plan: Plan, found: Profile) -> Table:
    """Make a row for each kind of work of each implementation, once by what was done, once by on whose behalf."""
    columns = [
        *_of_run(run, plan),
        Column("workload", "text", lambda row: row.profile.workload),
        Column("concurrency", "integer", lambda row: row.profile.concurrency),
        Column("rate_rps", "integer", lambda row: row.profile.rate_rps),
        Column("impl", "text", lambda row: row.one.impl),
        Column("by", "text", lambda row: row.by),
        *of(Part, lambda row: row.part),
    ]
    return Table("profile", plan, columns, _parts(found))


def _of_run(run: str, plan: Plan) -> list[Column]:
    """Make the columns that tell rows of several runs apart, and what ratios are to."""
    return [Column("run", "text", lambda _: run), Column("reference", "text", lambda _: plan.reference)]


def _parts(found: Profile) -> Iterator[_Part]:
    for one in found.implementations:
        for by, parts in (("category", one.categories), ("context", one.contexts)):
            for part in parts:
                yield _Part(found, one, by, part)
