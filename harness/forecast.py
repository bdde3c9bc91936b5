"""What a run is going to take: its processes, which follow from the plan, and its time, which is an estimate.

The times were measured on a two-core virtual machine (AMD EPYC, Linux 6.18) that had little else to do; DESIGN.md
("What a dry run knows") says how near they came.
"""

from collections.abc import Iterator, Mapping, Sequence

from harness import plan
from harness.group_run import LONGEST_SLICE_S, REPLIES_PER_CONNECTION, REQUESTS_PER_SLICE
from harness.report.forecast import Forecast, Processes, Step
from harness.schema import Plan, PlannedCell
from harness.testbed.cpus import write

CONTRACT_S = 26.0
"""To check one implementation for the whole contract, beside others; most of it is work for the CPUs."""
BEGIN_S = 3.0
"""From the command to the first server: it asks each for its version, and makes the hosts."""
END_S = 2.0
"""To end all, to judge and to report."""
BLOCK_S, SERVER_S = 0.6, 0.2
"""To start the servers of a block afresh: generators and backend, and each server with the slice that warms it up."""
BETWEEN_SLICES_S = 0.015
"""From the end of a slice to the begin of the next: late replies, and what is observed."""
SLOWEST_RPS = 4000
"""What the slowest server of a cell does with one worker: slices are made longer for it."""
_ASSUMED = (
    "Processes are those of our own servers: a parent, and a worker bound to each CPU. Time is an estimate, from a "
    f"machine with two CPUs and little else to do, as if the slowest server did {SLOWEST_RPS:,} requests/s. Slower "
    "ones, and other programs, take more."
)


def forecast(planned: Plan, obligations: Mapping[str, int], *, all_obligations: int) -> Forecast:
    """Tell what a run of a plan is going to take.

    ``obligations`` are how many of ``all_obligations`` each implementation is to be checked for.
    """
    groups = planned.groups
    checks_s = sum(count / all_obligations * CONTRACT_S for count in obligations.values())
    share_s = planned.budget_s / len(planned.cells)
    schedules = [_schedule(planned, group, share_s * len(group)) for group in groups]
    return Forecast(
        processes=_merged(planned, groups),
        holders=_holders(planned),
        steps=[
            Step("to begin", BEGIN_S),
            Step("to check that each keeps the contract", checks_s),
            Step("load", sum(load_s for load_s, _ in schedules)),
            Step("fresh servers, and between slices", sum(around_s for _, around_s in schedules)),
            Step("to end and judge", END_S),
        ],
        may_end_early=planned.precision is not None,
        assumed=_ASSUMED,
    )


def _schedule(planned: Plan, group: Sequence[PlannedCell], share_s: float) -> tuple[float, float]:
    """Return how long the slices of a group take, and what is around them; in seconds."""
    servers = sum(len(planned.taking_part(cell)) for cell in group)
    slice_s = max(_slice_s(planned, cell) for cell in group)
    fixed_rate = 1 if plan.has_fixed_rates(group[0], interleaved=planned.interleaved) else None
    schedule = plan.schedule(planned, group[0], share_s, servers, slice_s, fixed_rate)
    slices = servers * schedule.rounds * plan.slices_per_round(group[0], fixed_rate=fixed_rate is not None)
    starts = servers * (2 if group[0].idle else 1)
    return slices * slice_s, slices * BETWEEN_SLICES_S + schedule.blocks * (BLOCK_S + starts * SERVER_S)


def _slice_s(planned: Plan, cell: PlannedCell) -> float:
    """Guess how long the slices of a cell are made."""
    rate_rps = cell.rate_rps or SLOWEST_RPS * cell.workers
    replies = REQUESTS_PER_SLICE
    if cell.rate_rps is None:
        replies = max(replies, REPLIES_PER_CONNECTION * cell.concurrency)
    return min(max(planned.slice_s, replies / rate_rps), max(planned.slice_s, LONGEST_SLICE_S))


def _merged(planned: Plan, groups: Sequence[Sequence[PlannedCell]]) -> list[Processes]:
    """Tell what runs while each group is measured, those with the same processes together."""
    found: dict[tuple[Processes, ...], list[str]] = {}
    for group in groups:
        cells = group[0].key if len(group) == 1 else f"{group[0].key} … {group[-1].key}"
        found.setdefault(tuple(_processes(planned, group)), []).append(cells)
    return [
        one._replace(cells=cells[0] if len(cells) == 1 else f"{cells[0]} and {len(cells) - 1} more")
        for several, cells in found.items()
        for one in several
    ]


def _processes(planned: Plan, group: Sequence[PlannedCell]) -> Iterator[Processes]:
    """Tell what runs while cells are measured together."""
    servers = {cell: len(planned.taking_part(cell)) * (2 if cell.idle else 1) for cell in group}
    parents = sum(servers.values())
    workers = sum(number * cell.workers for cell, number in servers.items())
    yield Processes("servers: parents", parents, "")
    yield Processes("servers: workers", workers, _on(cell.server_cpus for cell in group))
    kinds = 1 if planned.client == "builtin" or group[0].rate_rps is not None else 2
    generators = {cpu for cell in group for cpu in cell.generator_cpus}
    yield Processes("load generators", len(generators) * kinds, write(generators))
    if group[0].idle:
        holders = sum(len(planned.taking_part(cell)) for cell in group)
        yield Processes("holders of idle connections", holders, _on(cell.generator_cpus for cell in group))
    backends = [cell for cell in group if cell.backend_cpus]
    if backends:
        number = sum(1 + len(cell.backend_cpus) for cell in backends)
        yield Processes("backend: parent and workers", number, _on(cell.backend_cpus for cell in backends))


def _on(sides: Iterator[Sequence[int]]) -> str:
    return write({cpu for cpus in sides for cpu in cpus})


def _holders(planned: Plan) -> int:
    """Count the processes that hold namespaces: the switch's, and each host's."""
    if planned.testbed != "netns":
        return 0
    return 4 if any(cell.backend_cpus for cell in planned.cells) else 3
