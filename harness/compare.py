"""The compare command: plan, conformance, measurement, report, in this order."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from harness import environment, hosts, open_files, plan, results, resumption, stored, versions
from harness.analysis import published
from harness.analysis.comparison import compare as sum_up
from harness.analysis.verdicts import WITHOUT_CLAIM
from harness.conformance import check_all, count
from harness.conformance.verdict import Verdict
from harness.errors import BadInput
from harness.forecast import forecast
from harness.loadgen import GeneratorFailed
from harness.loadgen.witnesses import WITNESSES
from harness.registry import Implementation, find
from harness.report import figures, terminal
from harness.report import forecast as forecast_report
from harness.report import plan as plan_report
from harness.report import scaling as scaling_report
from harness.report.conformance import ConformanceProgress
from harness.report.progress import RunProgress
from harness.results import RunFolder, StoredRun
from harness.run import Run
from harness.schema import Cell, Client, Plan, PlanSource, Slice, Summary, TestbedName
from harness.servers import ServerFailed
from harness.snapshot import BackendEnded
from harness.testbed import Choice, Testbed, foreseen
from harness.testbed.placement import Cpus


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
    testbed: Choice = "auto"
    cpus: Cpus = field(default_factory=Cpus)
    rfs: bool = False
    client: Client = "builtin"
    blocks: int = plan.BLOCKS
    precision: float | None = None
    interleaved: bool = False
    """Whether the cells of a workload are measured together, to tell how it scales."""
    source: PlanSource | None = None
    """The file that this was read from."""


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
        return all(cell.verdict not in WITHOUT_CLAIM for cell in self.summary.cells)


def compare(request: Request, output: Console, progress: Console) -> Result:
    """Do all of it; the report goes to ``output``. When the run ends early the summary is of what there is.

    Raises BadInput when the request cannot be carried out, KeyboardInterrupt while there is nothing to report.
    """
    _check_writable(request.json_file)
    _check_client(request.client)
    open_files.allow(request.cells)
    with _opened(request.testbed, request.cells, progress, rfs=request.rfs) as testbed:
        planned = _plan(request, testbed.name, testbed.notes)
        figures.show(output, plan_report.render(planned))
        with RunFolder.create(request.out, planned) as folder:
            folder.write_environment(environment.describe(testbed.server.sysctl))
            return _carry_out(
                planned, request.implementations, testbed, folder, (), request.json_file, output, progress
            )


def foretell(request: Request, output: Console) -> None:
    """Print what ``compare`` would do, and how long it would take: it starts no server, and leaves nothing.

    Raises BadInput when the request cannot be carried out, as far as that can be told without trying.
    """
    _check_writable(request.json_file)
    _check_client(request.client)
    open_files.check(request.cells)
    planned = _plan(request, *foreseen(request.testbed, rfs=request.rfs))
    results.check_folder(request.out)
    obligations = {one.name: count(one) for one in request.implementations}
    figures.show(output, plan_report.render(planned))
    foretold = forecast(planned, obligations, all_obligations=count(find(plan.REFERENCE)[0]))
    figures.show(output, forecast_report.render(foretold, figures.columns(output)))


def resume(path: Path, json_file: Path | None, output: Console, progress: Console) -> Result:
    """Go on with a run that ended early; no round that is finished is measured again.

    Raises BadInput when that is not possible here and now, KeyboardInterrupt while there is nothing to report.
    """
    _check_writable(json_file)
    stored = results.load(path)
    results.check_idle(path)
    resumption.check_schema(stored.plan, path)
    implementations = resumption.implementations(stored.plan, path)
    resumption.check_cpus(stored.plan, path)
    _check_client(stored.plan.client)
    open_files.allow(stored.plan.cells)
    with _opened(stored.plan.testbed, stored.plan.cells, progress, rfs=stored.plan.rfs) as testbed:
        now = environment.describe(testbed.server.sysctl)
        resumption.check_machine(stored.environment, now, path)
        resumption.check_testbed(stored.plan, testbed.notes, path)
        resumption.check_versions(stored.plan, path, {one.name: versions.ask(one) for one in implementations})
        figures.show(output, plan_report.render(stored.plan))
        for note in stored.notes:
            figures.show(output, note)
        with RunFolder.reopen(stored) as folder:
            if not (path / results.ENVIRONMENT).exists():
                folder.write_environment(now)
            return _carry_out(stored.plan, implementations, testbed, folder, stored.slices, json_file, output, progress)


def _carry_out(
    planned: Plan,
    implementations: Sequence[Implementation],
    testbed: Testbed,
    folder: RunFolder,
    done: Sequence[Slice],
    json_file: Path | None,
    output: Console,
    progress: Console,
) -> Result:
    """Check, measure and report what is left of a plan."""
    command = "scale" if planned.interleaved else "compare"
    again = f"harness {command} --resume {shlex.quote(str(folder.path))} goes on with it."
    outcome: Outcome | None = None
    if not planned.conformance_checked:
        try:
            verdicts = _check(implementations, folder, progress)
            _expect_unchanged(planned, implementations, verdicts)
            planned = _with_conformance(planned, verdicts)
            folder.write_plan(planned)
        except KeyboardInterrupt:
            figures.show(output, again)
            raise
        except BadInput as problem:
            outcome = _broken_off(problem, folder, progress)
    outcome = outcome or _measure(planned, implementations, testbed, folder, done, progress)
    if folder.is_gone:
        return Result(sum_up(planned, (), {}, interrupted=True), "broken off")
    written = True
    if folder.grew:
        after = environment.describe(testbed.server.sysctl)
        written &= _is_written(progress, lambda: folder.write_environment_after(after))
    summary = _report(results.load(folder.path), output, interrupted=outcome != "complete")
    figures.show(output, f"All of it is in {folder.path}")
    if outcome != "complete":
        figures.show(output, again)
    written &= _is_written(progress, lambda: folder.write_summary(summary))
    if json_file:
        results.write_json(json_file, summary)
    return Result(summary, "broken off" if outcome == "complete" and not written else outcome)


def _is_written(progress: Console, write: Callable[[], None]) -> bool:
    """Write something that the report does not depend on; say so where that is not possible, as on a full disk."""
    try:
        write()
    except BadInput as problem:
        figures.warn(progress, f"harness: error: {problem}")
        return False
    return True


def _check_client(client: Client) -> None:
    """Find out now that what is to make the load is not installed. Raises BadInput."""
    if client != "builtin":
        WITNESSES[client].find()


def _opened(name: Choice, cells: Sequence[Cell], progress: Console, *, rfs: bool) -> AbstractContextManager[Testbed]:
    return hosts.opened(name, progress, with_backend=any(cell.workload == "proxy" for cell in cells), rfs=rfs)


def show(path: Path, output: Console) -> None:
    """Print the report of a stored run, judged anew from its files. Raises BadInput."""
    run = results.load(path)
    figures.show(output, plan_report.render(run.plan))
    _report(run, output)


def _report(run: StoredRun, output: Console, *, interrupted: bool | None = None) -> Summary:
    """Judge a run from its files alone, and print what comes of it."""
    summary = stored.sum_up(run, interrupted=interrupted)
    figures.show(output, scaling_report.render(summary) if summary.scaling else terminal.render(summary))
    for note in run.notes:
        figures.show(output, note)
    return summary


def _plan(request: Request, testbed: TestbedName, testbed_notes: Sequence[str]) -> Plan:
    wanted = plan.with_takers(request.cells, request.implementations)
    cells = (
        hosts.place_together(request.cpus, wanted)
        if request.interleaved
        else [hosts.place(request.cpus, cell) for cell in wanted]
    )
    names = [implementation.name for implementation in request.implementations]
    reference = plan.choose_reference(names, request.reference)
    return plan.make(
        [versions.planned(one) for one in request.implementations],
        cells,
        reference=reference,
        budget_s=request.budget_s,
        slice_s=request.slice_s,
        seed=request.seed,
        testbed=testbed,
        testbed_notes=testbed_notes,
        rfs=request.rfs,
        client=request.client,
        blocks=request.blocks,
        precision=request.precision,
        interleaved=request.interleaved,
        extrapolate_to=sorted({published.CORES, len(hosts.allowed_cpus())}) if request.interleaved else (),
        source=request.source,
    )


def _check_writable(file: Path | None) -> None:
    """Find out now, not after minutes of measuring, that a file cannot be written."""
    try:
        if file is not None:
            results.check_writable(file)
    except OSError as error:
        raise BadInput(
            f"--json {file}: cannot be written: {error.strerror}; name a file in a folder that can be"
        ) from None


def _check(
    implementations: Sequence[Implementation], folder: RunFolder, console: Console
) -> Mapping[str, Sequence[Verdict]]:
    with ConformanceProgress(console, {one.name: count(one) for one in implementations}) as progress:

        def tell(name: str, verdict: Verdict) -> None:
            if verdict.outcome == "failed":
                folder.check_room()  # on a full disk nobody can keep the contract
            progress.verdict(name, verdict)

        return check_all(implementations, folder.path / "conformance", tell)


def _expect_unchanged(
    planned: Plan, implementations: Sequence[Implementation], verdicts: Mapping[str, Sequence[Verdict]]
) -> None:
    """See that who seems to have broken the contract is still the program that the plan names. Raises BadInput."""
    before = {one.name: one.version for one in planned.implementations}
    for one in implementations:
        failed = any(verdict.outcome == "failed" for verdict in verdicts[one.name])
        if failed and (now := versions.ask(one)) != before[one.name]:
            raise BadInput(
                f"{one.name}: has changed while it was checked: --version said {before[one.name]!r} and says {now!r}"
            )


def _with_conformance(planned: Plan, verdicts: Mapping[str, Sequence[Verdict]]) -> Plan:
    failed = {name: tuple(v.id for v in found if v.outcome == "failed") for name, found in verdicts.items()}
    judged = [
        msgspec.structs.replace(one, conformant=not failed[one.name], failed_cases=failed[one.name])
        for one in planned.implementations
    ]
    return msgspec.structs.replace(planned, implementations=tuple(judged), conformance_checked=True)


def _measure(
    planned: Plan,
    implementations: Sequence[Implementation],
    testbed: Testbed,
    folder: RunFolder,
    done: Sequence[Slice],
    console: Console,
) -> Outcome:
    by_name = {implementation.name: implementation for implementation in implementations}
    [backend] = find(plan.REFERENCE)
    try:
        with RunProgress(console, planned, title=str(folder.path), done=done) as progress:
            Run(planned, by_name, backend, testbed, folder, progress, done).measure()
    except KeyboardInterrupt:
        return "interrupted"
    except (GeneratorFailed, BackendEnded, ServerFailed, BadInput, OSError) as failure:
        return _broken_off(failure, folder, console)
    return "complete"


def _broken_off(why: Exception, folder: RunFolder, console: Console) -> Outcome:
    """Tell in one line why a run ends early."""
    text = str(why)
    if isinstance(why, OSError):
        text = f"{why.filename}: {why.strerror}" if why.filename else why.strerror or text
    figures.warn(console, f"harness: error: {folder.gone if folder.is_gone else text}")
    return "broken off"
