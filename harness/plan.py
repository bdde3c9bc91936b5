"""From what the user asks for to the cells that are measured."""

import itertools
from collections.abc import Sequence

from harness.errors import BadInput
from harness.schema import Cell, Plan, PlannedCell, PlannedImplementation, Workload

REFERENCE = "epoll_raw"
"""What ratios are taken to where nothing else is asked for."""
FEWEST_ROUNDS = 6
"""With fewer an interval is too wide to be of use; a cell gets as many even where slow servers exceed the budget."""


def expand(workloads: Sequence[Workload], workers: Sequence[int], concurrencies: Sequence[int]) -> tuple[Cell, ...]:
    """Expand the axes into cells, workload by workload."""
    return tuple(Cell(*point) for point in itertools.product(workloads, workers, concurrencies))


def rounds(budget_s: float, cell_count: int, implementation_count: int, slice_s: float) -> int:
    """Tell how many rounds of each cell the budget holds, FEWEST_ROUNDS at least."""
    return max(FEWEST_ROUNDS, int(budget_s / (cell_count * max(1, implementation_count) * slice_s)))


def choose_reference(names: Sequence[str], asked_for: str | None) -> str:
    """Choose what ratios are taken to: epoll_raw, or the first named where that does not take part.

    Raises BadInput when the one asked for does not take part.
    """
    if asked_for is None:
        return REFERENCE if REFERENCE in names else names[0]
    if asked_for not in names:
        raise BadInput(f"--reference {asked_for}: does not take part; name one of {', '.join(names)}")
    return asked_for


def make(
    implementations: Sequence[PlannedImplementation],
    cells: Sequence[PlannedCell],
    *,
    reference: str,
    budget_s: float,
    slice_s: float,
    seed: int,
) -> Plan:
    """Put a plan together. Raises BadInput when the fewest rounds take longer than the budget."""
    fewest_s = len(cells) * len(implementations) * FEWEST_ROUNDS * slice_s
    if fewest_s > budget_s:
        raise BadInput(
            f"--budget {budget_s:g}s: {len(cells)} cells x {len(implementations)} implementations x "
            f"{FEWEST_ROUNDS} rounds of {slice_s:g}s take {fewest_s:g}s; give that much, or less to measure"
        )
    return Plan(
        implementations=tuple(implementations),
        reference=reference,
        cells=tuple(cells),
        rounds=rounds(budget_s, len(cells), len(implementations), slice_s),
        slice_s=slice_s,
        budget_s=budget_s,
        seed=seed,
    )
