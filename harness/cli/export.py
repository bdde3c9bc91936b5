"""The command export."""

from pathlib import Path
from typing import get_args

import click

from harness.cli import candidates
from harness.cli.consoles import PROGRESS
from harness.cli.manual import Documented, Example, Manual
from harness.export.formats import STDOUT, Format, TableName
from harness.options import FileName

_MANUAL = Manual(
    examples=(
        Example("A line for each server in each cell", "harness export results/RUN --format csv --out summary.csv"),
        Example(
            "Every slice, typed, for pandas, DuckDB or R",
            "harness export results/RUN --format parquet --table slices --out slices.parquet",
        ),
        Example("For Prometheus", "harness export results/RUN --format openmetrics --out run.openmetrics"),
    ),
    files={"results/README.md": "what each column means: names are those of the run's files, joined by _"},
    see_also=("harness report", "harness diff", "docs/stored-runs.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@click.argument("run", type=FileName(), shell_complete=candidates.runs)
@click.option("--format", "kind", type=click.Choice(get_args(Format)), required=True, help="How it is written.")
@click.option("--table", type=click.Choice(get_args(TableName)),
              help="summary: a row for each server in each cell; slices: one for each slice; scaling: one for each "
              "number of workers, after harness scale; profile: one for each kind of work, after harness profile.  "
              "[default: summary, or profile]")  # fmt: skip
@click.option("--out", type=FileName(), default=STDOUT, metavar="FILE",
              help="Where to; a file is replaced when all is written.  [default: -, standard output]")  # fmt: skip
def export(run: Path, kind: Format, table: TableName | None, out: Path) -> int:
    """Write a stored run as CSV, Parquet or OpenMetrics.

    CSV and Parquet are tables with the same columns; the unit is part of a name (throughput_rps, latency_us_p99), the
    ends of a 95 % interval are NAME_low and NAME_high, and where there is no figure there is nothing. Lists are JSON.
    Parquet has types, and the run's plan in its metadata. OpenMetrics has the summary in base units, with
    run, reference, implementation and cell as labels.

    Texts in CSV are as the run has them: let a spreadsheet take evidence and failure for text, as one that begins with
    = is a formula to it.
    """
    from harness.export import command

    command.export(run, kind, table, out, PROGRESS)
    return 0
