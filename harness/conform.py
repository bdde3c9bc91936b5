"""The conform command: check, and tell what came of it."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from harness.conformance import CASES, check_all
from harness.errors import BadInput
from harness.registry import Implementation
from harness.report import conformance as report


def conform(
    implementations: Sequence[Implementation],
    only: Collection[str],
    directory: Path,
    output: Console,
    progress: Console,
) -> bool:
    """Check the obligations named in ``only``, or all of them, and tell whether they are kept by all.

    Raises BadInput for an obligation that there is not.
    """
    known = {case.id for case in CASES}
    for wanted in only:
        if wanted not in known:
            raise BadInput(f"--case {wanted}: no such obligation; CONTRACT.md lists them")
    names = [one.name for one in implementations]
    with report.ConformanceProgress(progress, names, len(only or known)) as shown:
        verdicts = check_all(implementations, directory, shown.verdict, only or None)
    output.print(report.render(verdicts), highlight=False, markup=False, soft_wrap=True)
    return not any(verdict.outcome == "failed" for found in verdicts.values() for verdict in found)
