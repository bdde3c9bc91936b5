"""The export command: what is asked for of a stored run goes to a file or to standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rich.console import Console

from harness import results
from harness.analysis.comparison import compare
from harness.errors import BadInput
from harness.export import csv_table, tables
from harness.export.formats import STDOUT, Format, TableName
from harness.export.tables import Table
from harness.profile_schema import Profile
from harness.report.figures import show
from harness.schema import Plan, Summary


def export(run: Path, kind: Format, table: TableName | None, out: Path, progress: Console) -> None:
    """Write a run; ``table`` None takes the summary, or of a profile its only one.

    What had to be left out is told on ``progress``. Raises BadInput: for what is no run, what it has not, and what
    cannot be written, in which case a file that was there before still is.
    """
    results.check_apart(out)
    plan = results.load_plan(run)
    notes: list[str] = []
    profile = results.load_profile(run)
    of_run = _tables_of(plan, profile)
    chosen = table or of_run[0]
    if chosen not in of_run:
        raise BadInput(f"--table {chosen}: {run} has no such table; it has {', '.join(of_run)}")
    if kind == "openmetrics" and chosen != of_run[0]:
        raise BadInput(
            f"--table {chosen}: OpenMetrics has all of the summary and no other table; leave it out, or take "
            "--format csv"
        )
    name = run.resolve().name
    if profile is not None:
        _write_profile(name, plan, profile, kind, out)
    elif chosen == "slices":
        _write_table(tables.slices(name, plan, results.stream_slices(run, plan, notes)), kind, out)
    else:
        _write_summary(name, plan, _judged(run, notes), chosen, kind, out)
    for note in notes:
        show(progress, note)


def _tables_of(plan: Plan, profile: Profile | None) -> tuple[TableName, ...]:
    """Tell which tables a run has, first the one that is taken when none is named."""
    if profile is not None:
        return ("profile",)
    return ("summary", "slices", "scaling") if plan.interleaved else ("summary", "slices")


def _judged(run: Path, notes: list[str]) -> Summary:
    """Judge a run from its files, as the report does. Raises BadInput."""
    stored = results.load(run)
    notes += stored.notes
    interrupted = stored.summary is None or stored.summary.interrupted
    return compare(stored.plan, stored.slices, stored.histograms, interrupted=interrupted)


def _write_summary(name: str, plan: Plan, judged: Summary, chosen: TableName, kind: Format, out: Path) -> None:
    if kind == "openmetrics":
        from harness.export import openmetrics  # noqa: PLC0415  only who needs it loads the library

        with _opened(out, kind) as stream:
            openmetrics.write(name, plan, judged, stream)
        return
    made = tables.scaling if chosen == "scaling" else tables.summary
    _write_table(made(name, plan, judged), kind, out)


def _write_profile(name: str, plan: Plan, found: Profile, kind: Format, out: Path) -> None:
    if kind == "openmetrics":
        from harness.export import openmetrics  # noqa: PLC0415  only who needs it loads the library

        with _opened(out, kind) as stream:
            openmetrics.write_profile(name, plan, found, stream)
        return
    _write_table(tables.profile(name, plan, found), kind, out)


def _write_table(table: Table, kind: Format, out: Path) -> None:
    with _opened(out, kind) as stream:
        if kind == "parquet":
            from harness.export import parquet_table  # noqa: PLC0415  as above

            parquet_table.write(table, stream)
        else:
            csv_table.write(table, stream)


@contextmanager
def _opened(out: Path, kind: Format) -> Iterator[BinaryIO]:
    if out != STDOUT:
        with results.writing(out) as stream:
            yield stream
        return
    if kind == "parquet" and os.isatty(1):
        raise BadInput("--format parquet: is nothing for a terminal; give --out FILE")
    if sys.stdout is None:  # closed from the beginning, as with >&-: whoever does that wants none of it
        with Path(os.devnull).open("wb") as nowhere:
            yield nowhere
        return
    stream = sys.stdout.buffer
    yield stream
    stream.flush()
