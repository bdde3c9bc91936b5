"""The conform command: check, and tell what came of it."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from harness.conformance import check_all, count
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
    obligations = {one.name: count(one, only or None) for one in implementations}
    with report.ConformanceProgress(progress, obligations) as shown:
        verdicts = check_all(implementations, directory, shown.verdict, only or None)
    output.print(report.render(verdicts), highlight=False, markup=False, soft_wrap=True)
    return not any(verdict.outcome == "failed" for found in verdicts.values() for verdict in found)
