"""The watch command: a run that is under way elsewhere, as it shows itself, for anybody who may read its folder."""

import os
import time
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness import compare, processes, results
from harness.errors import BadInput
from harness.growing_run import GrowingRun
from harness.report import figures
from harness.report.progress import RunProgress
from harness.schema import Plan

USUAL = Path("results")
"""Where runs are when nobody says otherwise; nothing is there before the first."""
_NONE_UNDER_WAY = "no run is under way here; name the folder of one, as in harness watch results/RUN"
_LOOK_EVERY_S = 0.5
_POLITE = 19
"""The least of what is over (nice(1)): the run may be measuring on the same CPUs.

Not SCHED_IDLE, which would never be drawn where all CPUs are busy; SCHED_BATCH waits its turn, too, when it wakes up.
"""

Outcome = Literal["complete", "ended early"]


def watch(path: Path, output: Console, progress: Console) -> Outcome:
    """Show a run until it ends, then its report. Of a folder of runs the newest that is under way is shown.

    Raises BadInput where there is no run to be shown, KeyboardInterrupt.
    """
    path = _find(path)
    if results.is_under_way(path):
        os.nice(_POLITE)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with GrowingRun(path) as run, processes.staying_on(_spare_cpus(run.plan)):
            if not _follow(run, progress):
                figures.warn(progress, f"harness: error: {path}: was removed while the run was under way")
                return "ended early"
    else:
        figures.show(progress, f"{path}: this run has ended")
    return _report(path, output, progress)


def _spare_cpus(plan: Plan) -> set[int]:
    """Choose CPUs of no cell, else those of the generators, on which the harness itself is, else all that there are."""
    allowed = os.sched_getaffinity(0)
    unused = allowed - {cpu for cell in plan.cells for cpu in cell.cpus}
    return unused or allowed & {cpu for cell in plan.cells for cpu in cell.generator_cpus} or allowed


def _follow(run: GrowingRun, progress: Console) -> bool:
    """Show a run until it ends; returns whether there is anything left of it."""
    begun = ""
    with RunProgress(progress, run.plan, title=f"watching {run.path}", done=run.new_slices()) as shown:
        is_under_way = True
        while is_under_way:
            try:
                # In this order: what a run writes before its end is read after the end is known.
                is_under_way = results.is_under_way(run.path)
                if run.plan_has_changed():
                    shown.plan_is(run.plan)
            except BadInput:
                if run.is_gone:
                    return False
                raise
            begun = _announce(run.plan, shown, begun)
            for piece in run.new_slices():
                shown.slice_ends(piece)
            shown.pass_time()
            if is_under_way:
                time.sleep(_LOOK_EVERY_S)
    return True


def _announce(plan: Plan, shown: RunProgress, begun: str) -> str:
    """Tell which cells have begun, unless it is known; returns the first of them."""
    group = next((group for group in reversed(plan.groups) if group[0].schedule), None)
    if group is None or group[0].schedule is None or group[0].key == begun:
        return begun
    shown.group_begins(group, group[0].schedule)
    return group[0].key


def _report(path: Path, output: Console, progress: Console) -> Outcome:
    compare.show(path, output)
    summary = results.load_summary(path)
    if summary is not None and not summary.interrupted:
        return "complete"
    command = "scale" if results.load_comparison(path).interleaved else "compare"
    figures.warn(progress, f"{path}: ended before its plan was done; harness {command} --resume goes on with it")
    return "ended early"


def _find(path: Path) -> Path:
    """Return the run itself, or the newest that is under way in a folder of runs. Raises BadInput."""
    if path == USUAL and not os.path.lexists(path):
        raise BadInput(f"{path}: {_NONE_UNDER_WAY}")
    if os.path.lexists(path / results.PLAN) or not os.path.isdir(path):  # noqa: PTH112  Path's fails without permission
        results.load_comparison(path)
        return path
    try:
        found = [run for run in path.iterdir() if _is_under_way(run)]
    except OSError as problem:
        raise BadInput(f"{path}: cannot be read: {problem.strerror}") from None
    if not found:
        raise BadInput(f"{path}: {_NONE_UNDER_WAY}")
    return max(found, key=lambda run: ((run / results.SLICES).stat().st_mtime_ns, run.name))


def _is_under_way(run: Path) -> bool:
    try:
        results.load_comparison(run)
        return results.is_under_way(run)
    except (BadInput, FileNotFoundError):
        return False
