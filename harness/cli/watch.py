"""The command watch."""

from pathlib import Path

import click

from harness.cli import candidates
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_DONE, EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import quiet
from harness.options import FileName

_MANUAL = Manual(
    examples=(
        Example("What is under way here", "harness watch"),
        Example("One run, such as another user's", "harness watch results/RUN"),
        Example("Wait for its end, then print the report", "harness watch --quiet results/RUN"),
    ),
    statuses={EXIT_FAILED: "the run was interrupted, or broke off"},
    see_also=("harness compare", "harness report", "docs/first-comparison.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@click.argument("run", type=FileName(), default=Path("results"), shell_complete=candidates.runs)
@quiet
def watch(run: Path) -> int:
    """Show a run that is under way elsewhere.

    It is one of compare or scale, shown until it ends; then comes its report. RUN is its folder, or a folder of runs,
    of which the newest that is under way is shown.  [default: results] What watches has the least priority and
    stays off the CPUs of the cells, or where there are no others on those of the generators; Ctrl-C ends watching
    alone.
    """
    from harness import watch as watching

    return EXIT_DONE if watching.watch(run, OUTPUT, PROGRESS) == "complete" else EXIT_FAILED
