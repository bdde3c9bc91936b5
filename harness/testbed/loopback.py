"""Everything on one host: server, generators and backend meet on loopback addresses and share nothing but memory.

A packet sent over loopback is received in the sender's context, so the client's CPU pays for much of the server's
receive path, and is often the limit. The verdict of a cell tells.
"""

from collections.abc import Sequence

from harness.errors import BadInput
from harness.schema import Cell, PlannedCell

HOST = "127.0.0.1"
GENERATORS_PER_WORKER = 2
"""A generator process does about as many short connections as one worker of the fastest server; two leave room."""


def place(cell: Cell, allowed: Sequence[int]) -> PlannedCell:
    """Give the server the first of the CPUs, and the rest to the generators and the backend.

    The backend gets half of the rest where that has at least two CPUs. When nothing is left, generators and backend
    share the server's last CPU. Raises BadInput when there are fewer CPUs than workers.
    """
    cpus = sorted(allowed)
    if cell.workers > len(cpus):
        raise BadInput(
            f"--workers {cell.workers}: {cell.workers} workers need {cell.workers} CPUs, "
            f"and this process may use {len(cpus)}; give {len(cpus)} or less"
        )
    rest = cpus[cell.workers :] or cpus[-1:]
    generators, backend = rest, rest
    if cell.workload != "proxy":
        backend = []
    elif len(rest) > 1:
        generators, backend = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    return PlannedCell(
        cell.workload,
        cell.workers,
        cell.concurrency,
        server_cpus=tuple(cpus[: cell.workers]),
        generator_cpus=tuple(generators[: min(cell.workers * GENERATORS_PER_WORKER, cell.concurrency)]),
        backend_cpus=tuple(backend),
    )
