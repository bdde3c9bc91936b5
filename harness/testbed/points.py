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
    allowed: Collection[int],
    cpus: Cpus,
    *,
    with_backend: bool,
    siblings: Siblings | None = None,
    published: Collection[int] = (),
) -> tuple[int, ...]:
    """Choose 1, 2, 4, 8 and so on, and the largest number that leaves as many cores to each other side.

    That is two at least, where there are two CPUs. Sides that were chosen keep their cores, and want no others; of
    CPUs that were chosen for the server all are used. Where others have ``published`` figures of a number that is not
    larger, it is taken, too.
    """
    chosen = [cpus.client, *([cpus.backend] if with_backend else [])]
    if cpus.server is not None:
        largest = len(set(cpus.server))
    else:
        taken = {cpu for side in chosen for cpu in side or ()}
        free = [core for core in cores_of(allowed, siblings or {}, {}) if taken.isdisjoint(core)]
        largest = min(len(allowed), max(2, len(free) // (1 + chosen.count(None))))
    if largest <= _ALL_UP_TO:
        return tuple(range(1, largest + 1))
    also = {number for number in published if number <= largest}
    return tuple(sorted({*(2**i for i in range(largest.bit_length())), largest, *also}))


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
