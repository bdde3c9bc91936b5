"""The profile command: load at one rate for all while perf records, then tables and files of where the core goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from harness import environment, hosts, plan, results, versions
from harness.analysis.profile import Setting, sum_up
from harness.block import Servers
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
from harness.report.figures import show
from harness.results import RunFolder
from harness.schema import Plan, PlannedCell, PlannedImplementation, Workload
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
    )
    placed = hosts.place(request.cpus, cell)
    with (
        hosts.opened(request.testbed, progress, with_backend=request.workload == "proxy") as testbed,
        temporary_folder("profile") as temporary,
    ):
        perf.check(placed.server_cpus, temporary)
        testbed.steer(placed)
        [backend] = find(plan.REFERENCE)
        servers = Servers(request.implementations, backend, testbed, temporary)
        if placed.rate_rps is None:
            try:
                with progress.status("What can the slowest do?"):
                    placed = _at_rate(placed, turns.find_rate(servers, placed))
            except _FAILURES as failure:
                show(progress, f"harness: error: {_reason(failure)}")
                return "failed"
        planned = _plan(request, placed, testbed)
        show(output, plan_report.render(planned))
        with RunFolder.create(request.out, planned) as folder:
            folder.write_environment(environment.describe(testbed.server.sysctl))
            servers = replace(servers, folder=folder.path / "servers")
            return _Profiling(request, servers, planned, folder, output, progress).carry_out()


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
        [
            PlannedImplementation(
                name=one.name,
                argv=one.argv,
                version=versions.ask(one),
                workloads=one.workloads,
                obligations=one.obligations,
                preload=one.variant.preload,
            )
            for one in request.implementations
        ],
        [cell],
        reference=plan.choose_reference(names, None),
        budget_s=request.budget_s,
        slice_s=request.slice_s,
        seed=request.seed,
        testbed=testbed.name,
        testbed_notes=testbed.notes,
        blocks=plan.BLOCKS,
    )


@dataclass(frozen=True, slots=True)
class _Profiling:
    """A profile under way, and its folder."""

    request: Request
    servers: Servers
    plan: Plan
    folder: RunFolder
    output: Console
    progress: Console

    def carry_out(self) -> Outcome:
        """Record, then make of it what can be made. Raises KeyboardInterrupt when nothing was recorded yet."""
        data = self.folder.path / files.PERF_DATA
        taken = self._turns(data)
        try:
            outcome = self._record(taken)
            if outcome == "interrupted" and not taken.done:
                raise KeyboardInterrupt
            return self._report(taken, data, outcome) if taken.done else "failed"
        except (PerfFailed, BadInput) as failure:
            show(self.progress, f"harness: error: {failure}")
            return "failed"
        finally:
            if not self.request.keep_perf_data:
                data.unlink(missing_ok=True)

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
            show(self.progress, f"harness: error: {_reason(failure)}")
            return "failed"
        return "failed" if taken.gone else "complete"

    def _report(self, taken: Turns, data: Path, outcome: Outcome) -> Outcome:
        """Read what was recorded, write the files, and print the tables. Raises PerfFailed and BadInput."""
        path, cell = self.folder.path, taken.cell
        with self.progress.status("reading what was recorded"), perf.text(data, cell.generator_cpus) as lines:
            folded, unread = files.sort_out(lines, taken.done, path)
        setting = Setting(cpus=len(cell.server_cpus), frequency_hz=perf.FREQUENCY_HZ, seed=self.plan.seed)
        found = [
            sum_up(
                one.name, [turn for turn in taken.done if turn.impl == one.name], setting, taken.gone.get(one.name, "")
            )
            for one in self.servers.implementations
        ]
        stored = Profile(
            workload=cell.workload,
            concurrency=cell.concurrency,
            rate_rps=cell.rate_rps or 1,
            server_cpus=cell.server_cpus,
            frequency_hz=perf.FREQUENCY_HZ,
            interrupted=outcome == "interrupted",
            notes=tuple(_notes(unread)),
            implementations=tuple(found),
        )
        results.write_json(path / results.PROFILE, stored)
        for one in found:
            if one.impl in folded:
                title = f"{one.impl}, {cell.workload}: where the core goes at {cell.rate_rps:,} requests/s"
                files.draw(one, folded[one.impl], title, path)
        show(self.output, report.render(stored))
        show(self.output, f"All of it is in {path}")
        return "failed" if outcome == "complete" and not all(one.samples for one in found) else outcome


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
