"""The soak command: very many short connections, and whether the memory and the descriptors of each worker grow.

One server at a time, loaded by the built-in generator in slices; between them no connection is open, and the workers
are looked at.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness import block, hosts, measure, plan, processes
from harness.analysis.growth import Growth, Sample, growth
from harness.block import Servers
from harness.loadgen import GeneratorFailed, clients
from harness.measure import Contestant, LoadSide
from harness.registry import Implementation, find
from harness.report import figures
from harness.report import soak as report
from harness.report.figures import show
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
_QUIET_WITHIN_S = 5.0
"""How long a worker may need until it has closed the last connections."""


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


def soak(request: Request, output: Console, progress: Console) -> bool:
    """Soak one implementation after the other, print a table for each, and tell whether none has grown or failed.

    Raises BadInput.
    """
    [cell] = plan.expand([request.workload], [request.workers], [request.concurrency])
    plan.with_takers([cell], request.implementations)
    [backend] = find(plan.REFERENCE)
    kept = True
    with (
        hosts.opened(request.testbed, progress, with_backend=request.workload == "proxy") as testbed,
        tempfile.TemporaryDirectory(prefix="percore-soak-") as folder,
    ):
        for note in testbed.notes:
            show(output, figures.wrap(note, figures.WIDTH))
        placed = hosts.place(request.cpus, cell)
        for implementation in request.implementations:
            if request.workload not in implementation.workloads:
                continue
            servers = Servers([implementation], backend, testbed, Path(folder))
            try:
                soaked = _soak(servers, placed, request, progress)
            except (GeneratorFailed, ServerFailed, BackendEnded) as failure:
                show(progress, f"harness: error: {failure}")
                kept = False
                continue
            show(output, report.render(soaked))
            kept &= soaked.stood
    show(output, figures.wrap(report.LEGEND, figures.WIDTH))
    return kept


def _soak(servers: Servers, cell: PlannedCell, request: Request, progress: Console) -> report.Soaked:
    """Soak one server. Raises GeneratorFailed, ServerFailed and BackendEnded."""
    [implementation] = servers.implementations
    servers.testbed.steer(cell)
    with ExitStack() as stack:
        up = stack.enter_context(block.start(servers, cell))
        if up.failures:
            raise up.failures[implementation.name]
        [contestant] = up.contestants
        load = LoadSide(
            cell=cell,
            clients=clients.start(stack, "builtin", cell.generator_cpus, servers.testbed.client),
            backend=up.backend,
            testbed=servers.testbed,
        )
        status = stack.enter_context(progress.status(implementation.name))
        run = _Run(contestant, load, request)
        run.run(lambda done: status.update(f"{implementation.name}: {done:,} of {request.connections:,} connections"))
        return run.soaked()


class _Run:
    """The load on one server, and the samples of each of its workers."""

    def __init__(self, contestant: Contestant, load: LoadSide, request: Request) -> None:
        self._contestant = contestant
        self._load = load
        self._request = request
        self._workers = contestant.server.worker_pids()
        self._samples: dict[int, list[Sample]] = {pid: [] for pid in self._workers}
        self._done = self._errors = 0
        self._lasted_s = 0.0

    def run(self, tell: Callable[[int], None]) -> None:
        """Make the connections, or as many as there is time for. Raises as ``_soak``."""
        began_s, wanted = time.monotonic(), self._request.connections
        slice_s = _FIRST_SLICE_S
        while self._done < wanted and time.monotonic() - began_s < self._request.budget_s:
            measured, _ = self._load.measure(self._contestant, measure.Turn(slice_s=slice_s))
            if ENDED & measured.errors.keys():
                raise ServerFailed(f"{self._contestant.name} has ended under load: {measured.failure}")
            self._done += measured.requests
            self._errors += sum(measured.errors.values())
            self._look(last=self._done >= wanted)
            if measured.requests:
                needed_s = slice_s * wanted / SAMPLES / measured.requests
                slice_s = min(max(needed_s, _SLICES_S[0]), _SLICES_S[1])
            tell(self._done)
        self._lasted_s = time.monotonic() - began_s

    def soaked(self) -> report.Soaked:
        """Return what came of it."""
        wanted = self._request.connections
        found: list[Growth] = [growth(samples, wanted) for samples in self._samples.values()]
        name, workload = self._contestant.name, self._request.workload
        return report.Soaked(name, workload, wanted, self._done, self._errors, self._lasted_s, found)

    def _look(self, *, last: bool) -> None:
        """Look at each worker; in the end when it has had time to close what it has. Raises ServerFailed."""
        for pid, samples in self._samples.items():
            if last and samples:
                self._await_closed(pid, min(sample.descriptors for sample in samples))
            now = self._held(pid)
            samples.append(Sample(self._done, now.rss_bytes, now.allocated_bytes, now.descriptors))

    def _await_closed(self, pid: int, descriptors: int) -> None:
        processes.wait_until(lambda: self._held(pid).descriptors <= descriptors, _QUIET_WITHIN_S)

    def _held(self, pid: int) -> Held:
        try:
            return held(pid)
        except ProcessLookupError as error:
            raise ServerFailed(f"{self._contestant.name}: {error}") from None
