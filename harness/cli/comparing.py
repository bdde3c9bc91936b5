"""What compare and scale do with what they were asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from harness.cli.shared_options import refuse_others

if TYPE_CHECKING:
    from harness.compare import Request, Result


def go_on(context: click.Context, run: Path, json_file: Path | None) -> int:
    """Go on with a run, and return the exit status. Raises BadInput, also for options beside --resume."""
    from harness import compare as comparison

    refuse_others(context, "run", "json_file")
    return _status(comparison.resume(run, json_file, OUTPUT, PROGRESS))


def carry_out(request: "Request", *, dry: bool) -> int:
    """Measure, or tell what that would take, and return the exit status. Raises BadInput."""
    from harness import compare as comparison

    if dry:
        comparison.foretell(request, OUTPUT)
        return EXIT_DONE
    return _status(comparison.compare(request, OUTPUT, PROGRESS))


def _status(result: "Result") -> int:
    if result.outcome == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_DONE if result.outcome == "complete" and result.all_judged else EXIT_FAILED
