"""Commands on stored runs: they run nothing, and work on any machine."""

from pathlib import Path

import msgspec
from rich.console import Console

from harness import results
from harness.analysis.comparison import compare
from harness.analysis.diff import Judged, choose_reference, compare_runs
from harness.analysis.environment import changes
from harness.report import diff as diff_report
from harness.report import explain as explain_report
from harness.report.figures import show
from harness.results import StoredRun
from harness.schema import Summary


def diff(
    old: Path,
    new: Path,
    output: Console,
    *,
    reference: str | None,
    fail_if_slower: float | None,
    json_file: Path | None,
) -> bool:
    """Print what changed from one run to another; returns whether nothing got worse by more than ``fail_if_slower``.

    Raises BadInput for a folder that is no run, runs that share nothing, and a ``json_file`` that cannot be written.
    """
    if json_file:
        results.check_apart(json_file)
    then, now = results.load(old), results.load(new)
    shared = choose_reference(then.plan, now.plan, reference)
    found = compare_runs(_judge(then, shared), _judge(now, shared))
    show(output, diff_report.render(found, fail_if_slower=fail_if_slower))
    for note in (*then.notes, *now.notes):
        show(output, note)
    if json_file:
        results.write_json(json_file, found)
    return fail_if_slower is None or not any(change.is_worse_by(fail_if_slower) for change in found.changes)


def explain(run: Path, cell: str, impl: str | None, output: Console) -> None:
    """Print the evidence behind the verdicts of one cell in full. Raises BadInput for a cell that the run has not."""
    stored = results.load(run)
    summary = compare(stored.plan, stored.slices, stored.histograms)
    show(output, explain_report.render(stored.plan, stored.slices, summary, cell, impl))
    for note in stored.notes:
        show(output, note)


def sum_up(run: StoredRun, *, interrupted: bool | None = None) -> Summary:
    """Judge a run anew from its files alone; ``interrupted`` is whether it ended early, None: as its summary says."""
    if interrupted is None:
        interrupted = run.summary is None or run.summary.interrupted
    summary = compare(run.plan, run.slices, run.histograms, interrupted=interrupted)
    if run.environment_after is None:
        return summary
    changed = changes(run.environment, run.environment_after, rfs=run.plan.rfs)
    return msgspec.structs.replace(summary, environment_changes=changed)


def _judge(stored: StoredRun, reference: str) -> Judged:
    """Judge a run anew from its files, with ratios to ``reference``."""
    plan = msgspec.structs.replace(stored.plan, reference=reference)
    return Judged(plan, compare(plan, stored.slices, stored.histograms), stored.environment)
