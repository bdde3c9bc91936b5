"""From what the user asks for to the cells that are measured."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from harness.errors import BadInput
from harness.registry import Implementation
from harness.report import figures
from harness.schema import (
    Cell,
    Client,
    Plan,
    PlannedCell,
    PlannedImplementation,
    PlanSource,
    Schedule,
    TestbedName,
    Workload,
)

REFERENCE = "epoll_raw"
"""What ratios are taken to where nothing else is asked for."""
FEWEST_ROUNDS = 6
"""With fewer an interval is too wide to be of use; a cell gets as many even where slow servers exceed the budget."""
BLOCKS = 6
"""How often servers are started afresh where nothing else is asked for."""
FEWEST_ROUNDS_PER_BLOCK = 2
"""What blocks differ by can only be told from how much rounds differ within a block."""
ROUNDS_PER_BLOCK = 8
"""Of a run that goes on until it is precise enough."""
FIRST_LOOK_BLOCKS, NEXT_LOOK_FACTOR = 8, 1.3
"""After how many blocks it is first looked whether it is, and how many more there are at each next look.

To look early or often would mean to stop where blocks happen to agree. In simulation (rounds that differ by 4 to 9 %,
blocks by 0 to 2 %) an interval of a run that ended at 2 % holds the truth in 92 to 96 % of the runs.
"""
FIXED_RATE_EVERY = 2


def expand(
    workloads: Sequence[Workload],
    workers: Sequence[int],
    concurrencies: Sequence[int],
    rates_rps: Sequence[int | None] = (None,),
    idle: Sequence[int] = (0,),
) -> tuple[Cell, ...]:
    """Expand the axes into cells, workload by workload; a rate makes an open loop."""
    return tuple(Cell(*point) for point in itertools.product(workloads, workers, concurrencies, rates_rps, idle))


def points(workloads: Sequence[Workload], workers: Sequence[int], concurrency: int, most: int) -> tuple[Cell, ...]:
    """Make a cell for each number of workers, with so many connections for each of them.

    Raises BadInput for more than ``most`` connections.
    """
    if max(workers) * concurrency > most:
        raise BadInput(
            f"--concurrency {concurrency}: {max(workers)} workers with as many connections each are more than "
            f"{most:,}; give {most // max(workers)} or less, or fewer --workers"
        )
    return tuple(Cell(workload, number, number * concurrency) for workload in workloads for number in workers)


def rounds(budget_s: float, implementation_count: int, slice_s: float, slices_per_round: float) -> int:
    """Tell how many rounds of a cell its share of the budget holds, FEWEST_ROUNDS at least."""
    return max(FEWEST_ROUNDS, int(budget_s / (max(1, implementation_count) * slice_s * slices_per_round)))


def slices_per_round(cell: Cell, *, fixed_rate: bool) -> float:
    """Tell how many slices each implementation has in a round of a cell, on average."""
    return 1 + bool(cell.idle) + (1 / FIXED_RATE_EVERY if fixed_rate else 0)


def has_fixed_rates(cell: Cell, *, interleaved: bool) -> bool:
    """Tell whether a cell has slices at a fixed rate, too: a closed loop that is not measured for its scaling."""
    return cell.rate_rps is None and not interleaved


def looks_at_precision(blocks: int) -> bool:
    """Tell whether it is looked, after so many blocks, whether a run is precise enough."""
    look = FIRST_LOOK_BLOCKS
    while look < blocks:
        look = math.ceil(look * NEXT_LOOK_FACTOR)
    return look == blocks


def has_fixed_rate(number: int) -> bool:
    """Tell whether a round has slices at a fixed rate, too: every second one."""
    return number % FIXED_RATE_EVERY == 0


def is_reversed(number: int) -> bool:
    """Tell whether a round has its slices without idle connections before those with them.

    Two rounds do, then two do not: so each order follows a slice at a fixed rate equally often.
    """
    return number // FIXED_RATE_EVERY % 2 == 1


def schedule(
    planned: Plan, cell: Cell, share_s: float, implementation_count: int, slice_s: float, fixed_rate_rps: int | None
) -> Schedule:
    """Divide a cell's share of the budget into rounds and blocks."""
    slices = slices_per_round(cell, fixed_rate=fixed_rate_rps is not None)
    number = rounds(share_s, implementation_count, slice_s, slices)
    # A run that may end early has blocks of a length that does not depend on how long it may take.
    wanted = planned.blocks if planned.precision is None else max(planned.blocks, number // ROUNDS_PER_BLOCK)
    blocks = max(1, min(wanted, number // FEWEST_ROUNDS_PER_BLOCK))
    return Schedule(slice_s=slice_s, rounds=number, blocks=blocks, fixed_rate_rps=fixed_rate_rps)


def with_takers(
    cells: Sequence[Cell], implementations: Sequence[Implementation], option: str = "--workloads"
) -> list[Cell]:
    """Return the cells in which any implementation takes part. Raises BadInput for one that takes part in none.

    ``option`` is what the command calls its workloads.
    """
    wanted = dict.fromkeys(cell.workload for cell in cells)
    for one in implementations:
        if wanted.keys().isdisjoint(one.workloads):
            raise BadInput(
                f"{one.name}: takes no part in {' and '.join(wanted)}; leave it out, or give {option} "
                f"{(',' if option == '--workloads' else ' or ').join(one.workloads)}"
            )
        if not any(cell.is_for(one) for cell in cells):
            raise BadInput(f"{one.name}: takes no part in proxy with idle connections; leave it out, or give --idle 0")
    return [cell for cell in cells if any(map(cell.is_for, implementations))]


def choose_reference(names: Sequence[str], asked_for: str | None) -> str:
    """Choose what ratios are taken to: epoll_raw, or the first variant of it, or the first named where it has no part.

    Raises BadInput when the one asked for does not take part.
    """
    if asked_for is None:
        variants = [name for name in names if name.partition("+")[0] == REFERENCE]
        return REFERENCE if REFERENCE in names else next(iter(variants), names[0])
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
    testbed: TestbedName = "loopback",
    testbed_notes: Sequence[str] = (),
    rfs: bool = False,
    client: Client = "builtin",
    blocks: int = BLOCKS,
    precision: float | None = None,
    conformance_checked: bool = False,
    command: Literal["compare", "profile"] = "compare",
    interleaved: bool = False,
    extrapolate_to: Sequence[int] = (),
    source: PlanSource | None = None,
) -> Plan:
    """Put a plan together. Raises BadInput when the fewest rounds take longer than the budget."""
    at_fixed_rates = any(has_fixed_rates(cell, interleaved=interleaved) for cell in cells)
    most = max(sum(map(cell.is_for, implementations)) for cell in cells)
    slices = sum(slices_per_round(cell, fixed_rate=has_fixed_rates(cell, interleaved=interleaved)) for cell in cells)
    fewest_s = slices * most * FEWEST_ROUNDS * slice_s
    if fewest_s > budget_s:
        also = ", and half as much at a fixed rate" if at_fixed_rates else ""
        also += ", and as much without idle connections" if any(cell.idle for cell in cells) else ""
        raise BadInput(
            f"--budget {budget_s:g}s: {figures.plural(len(cells), 'cell')} x "
            f"{figures.plural(most, 'implementation')} x {FEWEST_ROUNDS} rounds of "
            f"{slice_s:g}s{also}, take {fewest_s:g}s; give that much, or less to measure, or a shorter --slice"
        )
    if client != "builtin" and any(cell.rate_rps is not None for cell in cells):
        raise BadInput(f"--client {client}: it has no open loop; leave --rate out, or take --client builtin")
    return Plan(
        command=command,
        implementations=tuple(implementations),
        reference=reference,
        cells=tuple(cells),
        rounds=rounds(budget_s, most, slice_s, slices),
        slice_s=slice_s,
        budget_s=budget_s,
        seed=seed,
        testbed=testbed,
        testbed_notes=tuple(testbed_notes),
        rfs=rfs,
        client=client,
        blocks=blocks,
        precision=precision,
        conformance_checked=conformance_checked,
        interleaved=interleaved,
        extrapolate_to=tuple(extrapolate_to),
        source=source,
    )
