"""Which numbers of workers are worth comparing on a machine, and where each of them runs: pure, as ``placement.py``.

The client and the backend are the same for all numbers, those that the largest one needs: with others it would not be
the server alone that changes.
"""

from collections.abc import Collection, Sequence

from harness.schema import Cell, PlannedCell
from harness.testbed.placement import Cpus, Packages, Siblings, cores_of, place

_ALL_UP_TO = 4
"""So few numbers are all taken: the law of scaling has three parameters, and four points can show that it is wrong."""


def usual_workers(
    allowed: Collection[int], sides: int, *, chosen: Collection[int] | None = None, siblings: Siblings | None = None
) -> tuple[int, ...]:
    """Choose 1, 2, 4, 8 and so on, and the largest number that leaves as many cores to each of the other ``sides``.

    That is two at least, where there are two CPUs. Of CPUs that were ``chosen`` for the server all are used.
    """
    if chosen is not None:
        largest = len(set(chosen))
    else:
        largest = min(len(allowed), max(2, len(cores_of(allowed, siblings or {}, {})) // (1 + sides)))
    if largest <= _ALL_UP_TO:
        return tuple(range(1, largest + 1))
    return tuple(sorted({*(2**i for i in range(largest.bit_length())), largest}))


def place_together(
    cells: Sequence[Cell],
    allowed: Collection[int],
    cpus: Cpus,
    *,
    siblings: Siblings | None = None,
    packages: Packages | None = None,
) -> list[PlannedCell]:
    """Place cells of one workload that differ in their workers. Raises BadInput."""

    def placed(cell: Cell, client: Collection[int] | None, backend: Collection[int] | None) -> PlannedCell:
        return place(
            cell,
            allowed,
            server_cpus=cpus.server,
            client_cpus=client,
            backend_cpus=backend,
            siblings=siblings,
            packages=packages,
        )

    largest = placed(max(cells, key=lambda cell: cell.workers), cpus.client, cpus.backend)
    return [placed(cell, largest.generator_cpus, largest.backend_cpus) for cell in cells]
