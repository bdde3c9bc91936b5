"""The profile command: load at one rate for all while perf records, then tables and files of where the core goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from harness import environment, hosts, plan, results, versions
from harness.analysis.environment import changes
from harness.analysis.profile import Setting, sum_up
from harness.block import Servers
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.leftovers import temporary_folder
from harness.loadgen import GeneratorFailed
from harness.profile import files, perf, turns
from harness.profile.perf import PerfFailed, Recording
from harness.profile.turns import Turns
from harness.profile_schema import Profile
from harness.registry import Implementation, find
from harness.report import figures
from harness.report import plan as plan_report
from harness.report import profile as report
from harness.report.figures import show, warn
from harness.results import RunFolder
from harness.schema import Plan, PlannedCell, Workload
from harness.servers import ServerFailed
from harness.snapshot import BackendEnded
from harness.testbed import Choice, Testbed
from harness.testbed.placement import Cpus

Outcome = Literal["complete", "interrupted", "failed"]
_FAILURES = (ServerFailed, BackendEnded, GeneratorFailed, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementations: Sequence[Implementation]
    workload: Workload
    workers: int
    concurrency: int
    rate_rps: int | None
    """None stands for half of what the slowest can do."""
    budget_s: float
    """Load time of all turns together."""
    slice_s: float
    seed: int
    testbed: Choice
    cpus: Cpus
    out: Path
    keep_perf_data: bool


def profile(request: Request, output: Console, progress: Console) -> Outcome:
    """Record, print the tables, and write all of it into a run's folder.

    An interrupt ends it with what was recorded. Raises BadInput, and KeyboardInterrupt when that is nothing yet.
    """
    [cell] = plan.with_takers(
        plan.expand([request.workload], [request.workers], [request.concurrency], [request.rate_rps]),
        request.implementations,
        "--workload",
    )
    placed = hosts.place(request.cpus, cell)
    with (
        hosts.opened(request.testbed, progress, with_backend=request.workload == "proxy") as testbed,
        temporary_folder("profile") as temporary,
    ):
        files.check_room(request.out, round(request.budget_s * perf.FREQUENCY_HZ * len(placed.server_cpus)))
        perf.check(placed.server_cpus)
        testbed.steer(placed)
        [backend] = find(plan.REFERENCE)
        servers = Servers(request.implementations, backend, testbed, temporary)
        if placed.rate_rps is None:
            try:
                with progress.status("What can the slowest do?"):
                    placed = _at_rate(placed, turns.find_rate(servers, placed))
            except _FAILURES as failure:
                warn(progress, f"harness: error: {_reason(failure)}")
                return "failed"
        planned = _plan(request, placed, testbed)
        show(output, plan_report.render(planned))
        with RunFolder.create(request.out, planned) as folder:
            before = environment.describe(testbed.server.sysctl)
            folder.write_environment(before)
            servers = replace(servers, folder=folder.path / "servers")
            return _Profiling(request, servers, planned, folder, before, output, progress).carry_out()


def show_stored(path: Path, output: Console) -> bool:
    """Print the tables of a stored profile, and tell whether the folder has one. Raises BadInput."""
    stored = results.load_profile(path)
    if stored is not None:
        show(output, report.render(stored))
    return stored is not None


def _at_rate(cell: PlannedCell, rate_rps: int) -> PlannedCell:
    return msgspec.structs.replace(cell, rate_rps=rate_rps)


def _plan(request: Request, cell: PlannedCell, testbed: Testbed) -> Plan:
    """Make the plan; nothing in it is conformant, as that was not checked."""
    names = [one.name for one in request.implementations]
    return plan.make(
        [versions.planned(one) for one in request.implementations],
        [cell],
        reference=plan.choose_reference(names, None),
        budget_s=request.budget_s,
        slice_s=request.slice_s,
        seed=request.seed,
        testbed=testbed.name,
        testbed_notes=testbed.notes,
        blocks=plan.BLOCKS,
        command="profile",
    )


@dataclass(frozen=True, slots=True)
class _Profiling:
    """A profile under way, and its folder."""

    request: Request
    servers: Servers
    plan: Plan
    folder: RunFolder
    before: Environment
    output: Console
    progress: Console

    def carry_out(self) -> Outcome:
        """Record, then make of it what can be made. Raises KeyboardInterrupt when nothing comes of it."""
        data = self.folder.path / files.PERF_DATA
        taken = self._turns(data)
        try:
            outcome = self._record(taken)
        except PerfFailed as failure:
            self._tell_of(failure)
            taken.done.clear()
            outcome = "failed"
        if taken.done:
            return self._read(taken, data, outcome)
        data.unlink(missing_ok=True)
        if outcome == "interrupted":
            raise KeyboardInterrupt
        return outcome

    @property
    def _names(self) -> list[str]:
        return [one.name for one in self.servers.implementations]

    def _tell_of(self, failure: PerfFailed) -> None:
        """Say why perf has ended: of a full disk it says nothing."""
        try:
            self.folder.check_room()
        except BadInput as full:
            warn(self.progress, f"harness: error: {full}")
        else:
            warn(self.progress, f"harness: error: {failure}")

    def _turns(self, data: Path) -> Turns:
        [cell] = self.plan.cells
        schedule = turns.schedule(self.plan)
        self.folder.write_schedule([cell], schedule)
        return Turns(
            servers=self.servers,
            cell=cell,
            schedule=schedule,
            folder=self.folder,
            recording=Recording(cell.server_cpus, data, cell.generator_cpus),
            seed=self.plan.seed,
        )

    def _record(self, taken: Turns) -> Outcome:
        """Take all turns, or as many as can be taken. Raises PerfFailed, after which nothing can be read."""
        rounds = taken.schedule.rounds
        try:
            with self.progress.status("recording") as status, taken.recording:
                taken.take(lambda done: status.update(f"recording: {done} of {rounds} rounds"))
        except KeyboardInterrupt:
            return "interrupted"
        except (*_FAILURES, BadInput) as failure:
            warn(self.progress, f"harness: error: {_reason(failure)}")
            return "failed"
        return "failed" if taken.gone else "complete"

    def _read(self, taken: Turns, data: Path, outcome: Outcome) -> Outcome:
        """Read what was recorded, and report it. Where that does not end well perf's own file stays, and is named."""
        is_whole = False
        try:
            with self.progress.status("reading what was recorded"):
                found = files.read(data, taken.cell.generator_cpus, taken.done, self.folder.path)
            problems = [*found.problems, *self._report(taken, found, outcome)]
            is_whole = not problems
        except PerfFailed as failure:
            problems = [str(failure)]
        finally:
            if is_whole and not self.request.keep_perf_data:
                data.unlink(missing_ok=True)
            elif not is_whole and data.exists():
                warn(self.progress, f"What perf has recorded is left in {data}")
        for problem in problems:
            warn(self.progress, f"harness: error: {problem}")
        has_all = all(any(turn.samples and turn.requests for turn in taken.of(name)) for name in self._names)
        return "failed" if outcome == "complete" and (problems or not has_all) else outcome

    def _report(self, taken: Turns, found: files.Found, outcome: Outcome) -> list[str]:
        """Print the tables, and write the files; returns a line for each that cannot be written."""
        path, cell = self.folder.path, taken.cell
        after = environment.describe(self.servers.testbed.server.sysctl)
        setting = Setting(cpus=len(cell.server_cpus), frequency_hz=perf.FREQUENCY_HZ, seed=self.plan.seed)
        profiles = [sum_up(name, taken.of(name), setting, taken.gone.get(name, "")) for name in self._names]
        stored = Profile(
            workload=cell.workload,
            concurrency=cell.concurrency,
            rate_rps=cell.rate_rps or 1,
            server_cpus=cell.server_cpus,
            frequency_hz=perf.FREQUENCY_HZ,
            interrupted=outcome == "interrupted",
            notes=(*_notes(found.unread), *_changes(self.before, after)),
            implementations=tuple(profiles),
        )
        show(self.output, report.render(stored))
        show(self.output, f"All of it is in {path}")
        problems = [
            *_refused(lambda: self.folder.write_profile(stored)),
            *_refused(lambda: self.folder.write_environment_after(after)),
        ]
        for one in profiles:
            if one.impl in found.folded:
                title = f"{one.impl}, {cell.workload}: where the core goes at {cell.rate_rps:,} requests/s"
                problems += files.draw(one, found.folded[one.impl], title, path)
        return problems


def _refused(write: Callable[[], None]) -> Iterator[str]:
    """Write something; yields why that is not possible, if so."""
    try:
        write()
    except BadInput as problem:
        yield str(problem)


def _changes(before: Environment, after: Environment) -> Iterator[str]:
    return (f"Changed meanwhile: {change}." for change in changes(before, after))


def _notes(unread: int) -> Iterator[str]:
    if not perf.names_kernel_functions():
        yield (
            "The kernel's functions have no names here, and count as unknown: be root, or set sysctl "
            "kernel.kptr_restrict to 0 and kernel.perf_event_paranoid to 1 or lower."
        )
    if unread:
        yield f"{figures.plural(unread, 'sample')} could not be read and {'is' if unread == 1 else 'are'} left out."


def _reason(failure: Exception) -> str:
    return getattr(failure, "strerror", None) or str(failure)
