"""Commands on stored runs: explain, diff."""

from pathlib import Path

import click

from harness.cli import candidates
from harness.cli.consoles import OUTPUT
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.options import FileName, Percentage

_EXPLAIN = Manual(
    examples=(
        Example("All servers in one cell", "harness explain results/RUN short"),
        Example("One server alone", "harness explain results/RUN keepalive --impl trio"),
    ),
    see_also=("harness report", "docs/reading-a-report.md"),
)
_DIFF = Manual(
    examples=(
        Example("What an upgrade changed", "harness diff results/OLD results/NEW"),
        Example("In CI: fail when something got slower", "harness diff results/OLD results/NEW --fail-if-slower 5%"),
        Example("For a program to read", "harness diff results/OLD results/NEW --json changes.json"),
    ),
    statuses={
        EXIT_FAILED: "--fail-if-slower found something: requests/s less than 100 % - PERCENT of what they were, or CPU "
        "per request more than 100 % + PERCENT, whichever counts"
    },
    see_also=("harness report", "docs/stored-runs.md", "docs/measuring-a-kernel.md"),
)


@click.command(cls=Documented, manual=_EXPLAIN)
@click.argument("run", type=FileName(), shell_complete=candidates.runs)
@click.argument("cell", shell_complete=candidates.cells)
@click.option("--impl", metavar="NAME", shell_complete=candidates.measured, help="Only this implementation.")
def explain(run: Path, cell: str, impl: str | None) -> int:
    """Print the evidence behind the verdicts of one cell.

    RUN is the folder of a stored run. CELL is as in short/w1/c100; its beginning, such as short, is enough where no
    other cell has the same.
    """
    from harness import stored

    stored.explain(run, cell, impl, OUTPUT)
    return 0


@click.command(cls=Documented, manual=_DIFF)
@click.argument("old", type=FileName(), shell_complete=candidates.runs)
@click.argument("new", type=FileName(), shell_complete=candidates.runs)
@click.option("--reference", metavar="NAME", shell_complete=candidates.measured,
              help="What ratios are taken to, in both.  [default: OLD's, where it was measured in both]")  # fmt: skip
@click.option("--fail-if-slower", type=Percentage(0.1, 1000), metavar="PERCENT",
              help="End with status 1 when a change for the worse is shown (its interval excludes 1) and its size is "
              "over PERCENT, as in 5%.")  # fmt: skip
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the changes to this file.")
def diff(old: Path, new: Path, reference: str | None, fail_if_slower: float | None, json_file: Path | None) -> int:
    """Say what changed from one run to another.

    Compared are ratios to a reference that both runs have, as absolute speeds of different days are not comparable.
    Requests/s count where the server was the limit in both runs, for the reference as well; elsewhere CPU per request
    does. Each change has its interval.
    """
    from harness import stored

    kept = stored.diff(old, new, OUTPUT, reference=reference, fail_if_slower=fail_if_slower, json_file=json_file)
    return 0 if kept else EXIT_FAILED
