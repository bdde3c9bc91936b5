"""Where a command runs its servers and its load: on this machine's CPUs, on hosts of a testbed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from harness import leftovers
from harness.report.figures import show
from harness.schema import Cell, PlannedCell
from harness.testbed import Choice, Testbed, open_testbed, placement
from harness.testbed.cpus import siblings
from harness.testbed.placement import Cpus


def clear_away(progress: Console) -> None:
    """End and remove what runs that died have left, and show what that was."""
    leftovers.clear_away(lambda what: show(progress, f"harness: {what}"))


@contextmanager
def opened(choice: Choice, progress: Console, *, with_backend: bool, rfs: bool = False) -> Iterator[Testbed]:
    """Open a testbed, after what a dead run has left was cleared away, which is told. Raises BadInput."""
    clear_away(progress)
    with open_testbed(choice, with_backend=with_backend, rfs=rfs) as testbed:
        yield testbed


def place(cpus: Cpus, cell: Cell) -> PlannedCell:
    """Place a cell on the CPUs that this process may use. Raises BadInput."""
    return placement.place(
        cell,
        sorted(os.sched_getaffinity(0)),
        server_cpus=cpus.server,
        client_cpus=cpus.client,
        backend_cpus=cpus.backend,
        siblings=siblings(),
    )
