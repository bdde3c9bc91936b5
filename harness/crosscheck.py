"""The crosscheck command: the built-in generator and other programs load the same server, in turns.

One server for each implementation and workload; its clients take turns of a second, in a new random order each round,
each with one process on each client CPU.
"""

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from harness import block, hosts, measure, plan
from harness.analysis.crosscheck import BUILTIN, Crosscheck, Turn, sum_up
from harness.block import Servers
from harness.errors import BadInput
from harness.leftovers import temporary_folder
from harness.loadgen import GeneratorFailed, clients
from harness.loadgen.witnesses import MIN_TURN_S, WITNESSES
from harness.measure import LoadSide
from harness.registry import Implementation, find
from harness.report import crosscheck as report
from harness.report import figures
from harness.report.figures import show, warn
from harness.schema import ENDED, Client, PlannedCell, Slice, Workload
from harness.servers import ServerFailed
from harness.snapshot import BackendEnded
from harness.testbed import Choice
from harness.testbed.placement import Cpus

TURN_S = MIN_TURN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementations: Sequence[Implementation]
    workloads: Sequence[Workload]
    witnesses: Sequence[Client] | None
    """None stands for all that are installed."""
    concurrency: int
    turns: int
    seed: int
    testbed: Choice
    cpus: Cpus


def crosscheck(request: Request, output: Console, progress: Console) -> bool:
    """Take all turns, print a table for each server and workload, and tell whether all comparisons have figures.

    Raises BadInput.
    """
    cells = plan.expand(request.workloads, (1,), (request.concurrency,))
    plan.with_takers(cells, request.implementations)
    names: list[Client] = [BUILTIN, *_witnesses(request.witnesses)]
    [backend] = find(plan.REFERENCE)
    complete = True
    with (
        hosts.opened(request.testbed, progress, with_backend="proxy" in request.workloads) as testbed,
        temporary_folder("crosscheck") as folder,
    ):
        for note in testbed.notes:
            show(output, figures.wrap(note, figures.WIDTH))
        for implementation in request.implementations:
            servers = Servers([implementation], backend, testbed, folder)
            for cell in (hosts.place(request.cpus, one) for one in cells if one.workload in implementation.workloads):
                try:
                    found = _compare(servers, cell, names, request, progress)
                except (GeneratorFailed, ServerFailed, BackendEnded, OSError) as failure:
                    warn(progress, f"harness: error: {getattr(failure, 'strerror', None) or failure}")
                    complete = False
                    continue
                show(output, report.render(_title(implementation, cell, request.turns), found))
                complete &= all(comparison.finding != "no-figures" for comparison in found.comparisons)
    show(output, figures.wrap(report.LEGEND, figures.WIDTH))
    return complete


def _witnesses(named: Sequence[Client] | None) -> Sequence[Client]:
    """Return those named, or all that are installed. Raises BadInput when one named, or any at all, is missing."""
    if named is not None:
        for name in named:
            WITNESSES[name].find()
        return named
    found: list[Client] = [name for name, witness in WITNESSES.items() if witness.installed()]
    if not found:
        packages = " or ".join(f"{name} (Debian: apt-get install {one.package})" for name, one in WITNESSES.items())
        raise BadInput(f"crosscheck: no other load generator is on the PATH; install {packages}")
    return found


def _compare(
    servers: Servers, cell: PlannedCell, names: Sequence[Client], request: Request, progress: Console
) -> Crosscheck:
    """Let the clients take their turns on one server. Raises GeneratorFailed, ServerFailed and BackendEnded."""
    [implementation] = servers.implementations
    turns: dict[Client, dict[int, Turn]] = {name: {} for name in names}
    order = random.Random(f"{request.seed} {implementation.name} {cell.key}")
    status = f"{implementation.name}, {cell.workload}: {figures.plural(request.turns, 'turn')} of {', '.join(names)}"
    servers.testbed.steer(cell)
    with ExitStack() as stack:
        up = stack.enter_context(block.start(servers, cell))
        contestant = up.only()
        loads = {
            name: LoadSide(
                cell=cell,
                clients=clients.start(stack, name, cell.generator_cpus, servers.testbed.client),
                backend=up.backend,
                testbed=servers.testbed,
            )
            for name in names
        }
        stack.enter_context(progress.status(status))
        for number in range(request.turns):
            for name in order.sample(names, len(names)):
                measured, _ = loads[name].measure(contestant, measure.Turn(slice_s=TURN_S, round=number))
                if ENDED & measured.errors.keys():
                    raise ServerFailed(f"{implementation.name} has ended under load: {measured.failure}")
                turns[name][number] = _turn(measured, cell)
    return sum_up(turns, cell.workers, request.seed, f"{implementation.name} {cell.key}")


def _turn(measured: Slice, cell: PlannedCell) -> Turn:
    return Turn(
        rate_rps=measured.window_rps,
        requests=measured.requests,
        errors=measured.errors,
        wall_ns=measured.wall_ns,
        client_cpu_ns=measured.generator_cpu_ns,
        # All that its CPUs did: its own clock lacks the packets that were handled while it slept.
        server_cpu_ns=sum(use.busy_ns for use in measured.cpus if use.cpu in cell.server_cpus),
    )


def _title(implementation: Implementation, cell: PlannedCell, turns: int) -> str:
    load = f"{figures.plural(cell.concurrency, 'connection')}, {figures.plural(turns, 'turn')} of {TURN_S:g} s each"
    client_cpus = figures.plural(len(cell.generator_cpus), "client CPU")
    return f"{cell.workload.upper()} on {figures.printable(implementation.name)}: {load}, {client_cpus}"
