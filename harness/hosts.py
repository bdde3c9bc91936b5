"""Where a command runs its servers and its load: on this machine's CPUs, on hosts of a testbed."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from harness import leftovers
from harness.analysis import published
from harness.report.figures import warn
from harness.schema import Cell, PlannedCell, Workload
from harness.testbed import Choice, Testbed, open_testbed, placement, points
from harness.testbed.cpus import packages, siblings
from harness.testbed.placement import Cpus


def clear_away(progress: Console) -> None:
    """End and remove what runs that died have left, and show what that was."""
    leftovers.clear_away(lambda what: warn(progress, f"harness: {what}"))


@contextmanager
def opened(choice: Choice, progress: Console, *, with_backend: bool, rfs: bool = False) -> Iterator[Testbed]:
    """Open a testbed, after what a dead run has left was cleared away, which is told. Raises BadInput."""
    clear_away(progress)
    with open_testbed(choice, with_backend=with_backend, rfs=rfs) as testbed:
        yield testbed


def allowed_cpus() -> list[int]:
    """List the CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def place(cpus: Cpus, cell: Cell) -> PlannedCell:
    """Place a cell on the CPUs that this process may use. Raises BadInput."""
    return placement.place(
        cell,
        allowed_cpus(),
        server_cpus=cpus.server,
        client_cpus=cpus.client,
        backend_cpus=cpus.backend,
        siblings=siblings(),
        packages=packages(),
    )


def place_together(cpus: Cpus, cells: Sequence[Cell]) -> list[PlannedCell]:
    """Place cells that are to be measured together, those of each workload with one client. Raises BadInput."""
    allowed, of_core, of_package = allowed_cpus(), siblings(), packages()
    placed: list[PlannedCell] = []
    for workload in dict.fromkeys(cell.workload for cell in cells):
        several = [cell for cell in cells if cell.workload == workload]
        placed += points.place_together(several, allowed, cpus, siblings=of_core, packages=of_package)
    return placed


def usual_workers(cpus: Cpus, workloads: Collection[Workload]) -> tuple[int, ...]:
    """Choose the numbers of workers to be compared on the CPUs that this process may use."""
    return points.usual_workers(
        allowed_cpus(),
        cpus,
        with_backend="proxy" in workloads,
        siblings=siblings(),
        published=(published.CORES,) if published.THROUGHPUTS_RPS.keys() & set(workloads) else (),
    )
