"""The compare command: plan, conformance, measurement, report, in this order."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from harness import environment, plan, processes, results
from harness.analysis.comparison import compare as sum_up
from harness.analysis.verdicts import FAILED, NOT_CONFORMANT
from harness.conformance import CASES, check_all
from harness.conformance.verdict import Verdict
from harness.errors import BadInput
from harness.loadgen import GeneratorFailed
from harness.measure import BackendEnded
from harness.registry import Implementation, find
from harness.report import plan as plan_report
from harness.report import terminal
from harness.report.conformance import ConformanceProgress
from harness.report.progress import RunProgress
from harness.results import RunFolder, StoredRun
from harness.run import Run
from harness.schema import Cell, Plan, PlannedImplementation, Summary
from harness.servers import ServerFailed
from harness.testbed.loopback import place

VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementations: Sequence[Implementation]
    reference: str | None
    cells: Sequence[Cell]
    budget_s: float
    slice_s: float
    seed: int
    out: Path
    json_file: Path | None


Outcome = Literal["complete", "interrupted", "broken off"]
"""How a run ended: its plan was done, the user ended it, or something that it cannot do without has failed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    summary: Summary
    outcome: Outcome

    @property
    def all_judged(self) -> bool:
        """Whether every implementation kept the contract and stood the load in every cell."""
        return all(cell.verdict not in {NOT_CONFORMANT, FAILED} for cell in self.summary.cells)


def compare(request: Request, output: Console, progress: Console) -> Result:
    """Do all of it; the report goes to ``output``. When the run ends early the summary is of what there is.

    Raises BadInput when the request cannot be carried out, KeyboardInterrupt while there is nothing to report.
    """
    planned = _plan(request)
    _check_writable(request.json_file)
    _print(output, plan_report.render(planned))
    with RunFolder.create(request.out, planned) as folder:
        folder.write_environment(environment.describe())
        planned = _with_conformance(planned, _check(request, folder, progress))
        folder.write_plan(planned)
        outcome = _measure(planned, request, folder, progress)
    summary = _report(results.load(folder.path), output, interrupted=outcome != "complete")
    _print(output, f"All of it is in {folder.path}")
    results.write_json(folder.path / results.SUMMARY, summary)
    if request.json_file:
        results.write_json(request.json_file, summary)
    return Result(summary, outcome)


def show(path: Path, output: Console) -> None:
    """Print the report of a stored run, judged anew from its files. Raises BadInput."""
    stored = results.load(path)
    interrupted = stored.summary is None or stored.summary.interrupted
    _print(output, plan_report.render(stored.plan))
    _report(stored, output, interrupted=interrupted)


def _report(stored: StoredRun, output: Console, *, interrupted: bool) -> Summary:
    """Judge a run from its files alone, and print what comes of it."""
    summary = sum_up(stored.plan, stored.slices, stored.histograms, interrupted=interrupted)
    _print(output, terminal.render(summary))
    for note in stored.notes:
        _print(output, note)
    return summary


def _print(output: Console, text: str) -> None:
    output.print(text, highlight=False, markup=False, soft_wrap=True)


def _plan(request: Request) -> Plan:
    allowed = sorted(os.sched_getaffinity(0))
    cells = [place(cell, allowed) for cell in request.cells]
    names = [implementation.name for implementation in request.implementations]
    reference = plan.choose_reference(names, request.reference)
    return plan.make(
        [PlannedImplementation(name=one.name, argv=one.argv, version=_version(one)) for one in request.implementations],
        cells,
        reference=reference,
        budget_s=request.budget_s,
        slice_s=request.slice_s,
        seed=request.seed,
    )


def _version(implementation: Implementation) -> str:
    """Return the first line of what ``--version`` prints; an empty text when it prints none."""
    command = [*implementation.argv, "--version"]
    try:
        printed = processes.output(command, implementation.cwd, VERSION_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"{implementation.name}: '{shlex.join(command)}' does not end; it should print one line"
        ) from None
    return next(iter(printed.strip().splitlines()), "")


def _check_writable(file: Path | None) -> None:
    """Find out now, not after minutes of measuring, that a file cannot be written."""
    try:
        if file is not None:
            results.check_writable(file)
    except OSError as error:
        raise BadInput(
            f"--json {file}: cannot be written: {error.strerror}; name a file in a folder that can be"
        ) from None


def _check(request: Request, folder: RunFolder, console: Console) -> Mapping[str, Sequence[Verdict]]:
    names = [one.name for one in request.implementations]
    with ConformanceProgress(console, names, len({case.id for case in CASES})) as progress:
        return check_all(request.implementations, folder.path / "conformance", progress.verdict)


def _with_conformance(planned: Plan, verdicts: Mapping[str, Sequence[Verdict]]) -> Plan:
    failed = {name: tuple(v.id for v in found if v.outcome == "failed") for name, found in verdicts.items()}
    judged = [
        msgspec.structs.replace(one, conformant=not failed[one.name], failed_cases=failed[one.name])
        for one in planned.implementations
    ]
    return msgspec.structs.replace(planned, implementations=tuple(judged))


def _measure(planned: Plan, request: Request, folder: RunFolder, console: Console) -> Outcome:
    implementations = {implementation.name: implementation for implementation in request.implementations}
    [backend] = find(plan.REFERENCE)
    try:
        with RunProgress(console, len(planned.cells)) as progress:
            Run(planned, implementations, backend, folder, progress).measure()
    except KeyboardInterrupt:
        return "interrupted"
    except (GeneratorFailed, BackendEnded, ServerFailed, BadInput) as failure:
        console.print(f"harness: error: {failure}", highlight=False, markup=False, soft_wrap=True)
        return "broken off"
    return "complete"
