"""The soak command: very many short connections, and whether the memory and the descriptors of each worker grow.

One server at a time, loaded by the built-in generator in slices; between them no connection is open, and the workers
are looked at.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from harness import block, hosts, measure, plan, processes
from harness.analysis.growth import Growth, Sample, growth
from harness.block import Servers
from harness.leftovers import temporary_folder
from harness.loadgen import GeneratorFailed, clients
from harness.measure import Contestant, LoadSide
from harness.registry import Implementation, find
from harness.report import figures
from harness.report import soak as report
from harness.report.figures import show, warn
from harness.resources import Held, held
from harness.schema import ENDED, PlannedCell, Workload
from harness.servers import ServerFailed
from harness.snapshot import BackendEnded
from harness.testbed import Choice
from harness.testbed.placement import Cpus

SAMPLES = 200
"""About so many, so that each tenth has several."""
_FIRST_SLICE_S = 0.05
_SLICES_S = (0.02, 2.0)
_LONGER_BY = 2.0
"""No slice is longer than its forerunner by more."""
_QUIET_WITHIN_S = 5.0
"""How long a worker may need until it has closed the last connections."""
_QUIET_BETWEEN_WITHIN_S = 0.05
"""How long it is waited for between slices, of which there are many."""
GIVEN_UP_AFTER_SLICES = 3
"""So many without a reply; each takes until the generator's clients give up."""
Outcome = Literal["stood", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementations: Sequence[Implementation]
    workload: Workload
    connections: int
    workers: int
    concurrency: int
    budget_s: float
    """For each implementation; one that needs longer is broken off."""
    testbed: Choice
    cpus: Cpus


def soak(request: Request, output: Console, progress: Console) -> Outcome:
    """Soak one implementation after the other, print a table for each, and tell whether none has grown or failed.

    An interrupt ends it with what was measured. Raises BadInput, and KeyboardInterrupt before anything was measured.
    """
    [cell] = plan.expand([request.workload], [request.workers], [request.concurrency])
    plan.with_takers([cell], request.implementations, "--workload")
    [backend] = find(plan.REFERENCE)
    outcome: Outcome = "stood"
    with (
        hosts.opened(request.testbed, progress, with_backend=request.workload == "proxy") as testbed,
        temporary_folder("soak") as folder,
    ):
        for note in testbed.notes:
            show(output, figures.wrap(note, figures.WIDTH))
        placed = hosts.place(request.cpus, cell)
        for implementation in request.implementations:
            if request.workload not in implementation.workloads:
                continue
            servers = Servers([implementation], backend, testbed, folder)
            try:
                soaked = _soak(servers, placed, request, progress)
            except (GeneratorFailed, ServerFailed, BackendEnded, OSError) as failure:
                warn(progress, f"harness: error: {failure}")
                outcome = "failed"
                continue
            show(output, report.render(soaked))
            if soaked.interrupted:
                outcome = "interrupted"
                break
            outcome = outcome if soaked.stood else "failed"
    show(output, figures.wrap(report.LEGEND, figures.WIDTH))
    return outcome


def _soak(servers: Servers, cell: PlannedCell, request: Request, progress: Console) -> report.Soaked:
    """Soak one server, to the end or until something fails. Raises as soon as that is before any load.

    Then that is GeneratorFailed, ServerFailed, BackendEnded, OSError or KeyboardInterrupt.
    """
    [implementation] = servers.implementations
    servers.testbed.steer(cell)
    with ExitStack() as stack:
        up = stack.enter_context(block.start(servers, cell))
        contestant = up.only()
        load = LoadSide(
            cell=cell,
            clients=clients.start(stack, "builtin", cell.generator_cpus, servers.testbed.client),
            backend=up.backend,
            testbed=servers.testbed,
        )
        status = stack.enter_context(progress.status(implementation.name))
        run = _Run(contestant, load, request)
        interrupted, failure = False, ""
        try:
            run.run(
                lambda done: status.update(f"{implementation.name}: {done:,} of {request.connections:,} connections")
            )
        except KeyboardInterrupt:
            interrupted = True
        except (GeneratorFailed, ServerFailed, BackendEnded, OSError) as error:
            failure = str(error)
        return run.soaked(failure, interrupted=interrupted)


class _Run:
    """The load on one server, and the samples of each of its workers."""

    def __init__(self, contestant: Contestant, load: LoadSide, request: Request) -> None:
        """Look at the workers before any load. Raises ServerFailed where there are not as many as were asked for."""
        self._contestant = contestant
        self._load = load
        self._request = request
        workers = contestant.server.worker_pids()
        if len(workers) != request.workers:
            raise ServerFailed(
                f"{contestant.name}: {len(workers)} child processes, where {request.workers} workers were asked for"
            )
        self._samples: dict[int, list[Sample]] = {pid: [] for pid in workers}
        self._fewest = {pid: self._held(pid).descriptors for pid in workers}
        """Descriptors that each has been seen with."""
        self._done = self._errors = self._silent = 0
        self._began_s = time.monotonic()

    def run(self, tell: Callable[[int], None]) -> None:
        """Make the connections, or as many as there is time for. Raises as ``_soak``, and ServerFailed for silence."""
        wanted, slice_s, loaded_s = self._request.connections, _FIRST_SLICE_S, 0.0  # the last: of slices with a reply
        while self._done < wanted and time.monotonic() - self._began_s < self._request.budget_s:
            measured, _ = self._load.measure(self._contestant, measure.Turn(slice_s=slice_s))
            if ENDED & measured.errors.keys():
                raise ServerFailed(f"{self._contestant.name} has ended under load: {measured.failure}")
            self._done += measured.requests
            self._errors += sum(measured.errors.values())
            self._silent = 0 if measured.requests else self._silent + 1
            if self._silent == GIVEN_UP_AFTER_SLICES:
                fate = self._contestant.server.fate()
                raise ServerFailed(f"{self._contestant.name} gave no reply in {self._silent} slices in a row; {fate}")
            self._look(last=self._done >= wanted)
            if measured.requests:
                loaded_s += slice_s
                # By all slices so far, and longer step by step: in one that was held up a server looks far too slow,
                # and when that is the first one there are no others to tell.
                needed_s = min(loaded_s * wanted / SAMPLES / self._done, slice_s * _LONGER_BY)
                slice_s = min(max(needed_s, _SLICES_S[0]), _SLICES_S[1])
            tell(self._done)

    def soaked(self, failure: str, *, interrupted: bool) -> report.Soaked:
        """Return what came of it, and what ended it early."""
        wanted = self._request.connections
        found: list[Growth] = [growth(samples, wanted) for samples in self._samples.values()]
        return report.Soaked(
            name=self._contestant.name,
            workload=self._request.workload,
            wanted=wanted,
            done=self._done,
            errors=self._errors,
            lasted_s=time.monotonic() - self._began_s,
            workers=found,
            failure=failure,
            interrupted=interrupted,
        )

    def _look(self, *, last: bool) -> None:
        """Look at each worker when it has had time to close what it has, more in the end. Raises ServerFailed."""
        for pid, samples in self._samples.items():
            self._await_closed(pid, _QUIET_WITHIN_S if last else _QUIET_BETWEEN_WITHIN_S)
            now = self._held(pid)
            self._fewest[pid] = min(self._fewest[pid], now.descriptors) if samples else now.descriptors
            samples.append(Sample(self._done, now.rss_bytes, now.allocated_bytes, now.descriptors))

    def _await_closed(self, pid: int, within_s: float) -> None:
        processes.wait_until(lambda: self._held(pid).descriptors <= self._fewest[pid], within_s)

    def _held(self, pid: int) -> Held:
        try:
            return held(pid)
        except ProcessLookupError as error:
            raise ServerFailed(f"{self._contestant.name}: {error}") from None
