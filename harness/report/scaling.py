"""How throughput grows with workers: a table of points for each workload, the fitted law, and what it says beyond."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.analysis import verdicts
from harness.analysis.verdicts import SERVER_BOUND
from harness.report import figures, scaling_law, tables
from harness.report.environment import changed
from harness.report.figures import WIDTH
from harness.schema import (
    CellSummary,
    CpuUsPerRequest,
    Estimate,
    ScalingPoint,
    Summary,
    Workload,
)

_NAME_WIDTH = len("epoll_raw+lean")
_PARAMETER_DECIMALS = 5
_COLUMNS = 7
"""Numbers of workers side by side in a table."""
_LEGEND = (
    "Ranges are 95 % intervals. Speed-up is to the fewest workers, taken within each round; efficiency is that for "
    "each worker, in per cent. CPU is what the server's CPUs spent on a request; its ratio is to the fewest workers, "
    "too. Local are connections whose packets arrive on the CPU of their worker; a proxy's clients' + those to its "
    "backends."
)
_OF_PROCESSES = (
    "CPU of {points} is that of the server's processes alone, without packets that came while they slept: it does not "
    "compare with the rest."
)
_NOT_SERVER_BOUND = {
    verdicts.PORT_BOUND: "Where the client's host ran out of ports ({points}), it is their number that was measured.",
    verdicts.BACKLOG_DROP: (
        "Where listening sockets dropped connections ({points}), clients waited to try again: fewer connections may "
        "give more requests/s."
    ),
    verdicts.BACKEND_BOUND: "Where the backend was the limit ({points}), its speed was measured, and not the proxy's.",
    verdicts.SHARED_CPUS: (
        "Where server, client or backend share CPUs ({points}), speed-up and efficiency are those of this machine with "
        "all of them on it, and say nothing of how the kernel scales."
    ),
    verdicts.CLIENT_BOUND: (
        "Where the client was the limit ({points}), the server may be able to do more, and no speed-up from or to "
        "there is the server's."
    ),
    verdicts.NOISY: (
        "Where figures are too noisy for a claim ({points}), other work on this machine, or a change during the run, "
        "may be what they show."
    ),
    verdicts.UNSATURATED: (
        "Where no side's CPUs were all busy ({points}), nothing was at its limit, and more connections may give more "
        "requests/s."
    ),
}
"""What figures do not mean where something else than the server was the limit."""

_Points = Sequence[tuple[ScalingPoint, CellSummary]]
"""Of one implementation, with what is claimed of each."""


def render(summary: Summary) -> str:
    """Return the report of a run that asked how servers scale."""
    parts: list[str] = []
    for workload in dict.fromkeys(one.workload for one in summary.scaling):
        parts += _of_workload(summary, workload)
    parts.append(figures.wrap(_LEGEND, WIDTH))
    if summary.interrupted:
        parts.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    if summary.environment_changes:
        parts.append(changed(summary.environment_changes, WIDTH))
    return "\n\n".join(parts) + "\n"


def _of_workload(summary: Summary, workload: Workload) -> list[str]:
    several = [one for one in summary.scaling if one.workload == workload]
    found = {
        (entry.impl, entry.workers, entry.concurrency): entry for entry in summary.cells if entry.workload == workload
    }
    points = {
        one.impl: [(point, found[one.impl, point.workers, point.concurrency]) for point in one.points]
        for one in several
    }
    parts = [_heading(workload, points), _table(points)]
    if len(points) > 1 and summary.reference in points:
        parts += _beside_reference(points, summary.reference)
    parts += _remarks(points)
    return [*parts, *scaling_law.render(several), *scaling_law.others(workload)]


def _heading(workload: Workload, points: Mapping[str, _Points]) -> str:
    every = [pair for of_impl in points.values() for pair in of_impl]
    rounds = figures.plural(max(entry.rounds for _, entry in every), "round")
    for_each = {point.concurrency / point.workers for point, _ in every}
    connections = f", {figures.plural(round(for_each.pop()), 'connection')} for each" if len(for_each) == 1 else ""
    return f"{workload.upper()}: requests/s against workers{connections}, {rounds}"


def _table(points: Mapping[str, _Points]) -> str:
    headers = [
        "", "workers", "requests/s", "speed-up", "effi-\nciency", "CPU µs\n/request", "ratio\nof CPU",
        "a worker's\nshare; local", "verdict",
    ]  # fmt: skip
    rows = [
        ["" if i else figures.name(impl, _NAME_WIDTH), *_row(point, entry)]
        for impl, of_impl in points.items()
        for i, (point, entry) in enumerate(of_impl)
    ]
    return figures.table(rows, headers, ("left", *["right"] * 7, "left"))


def _row(point: ScalingPoint, entry: CellSummary) -> list[str]:
    return [
        f"{point.workers:,}",
        figures.estimate(entry.throughput_rps, 0),
        _to_fewest(point.speed_up, 2),
        _to_fewest(_in_per_cent(point.efficiency), 0),
        figures.estimate(point.cpu_us_per_request, 1),
        _to_fewest(point.cpu_ratio, 2),
        tables.sharing(entry),
        entry.verdict,
    ]


def _to_fewest(known: Estimate, decimals: int) -> str:
    """Return a figure and its interval, which that of the fewest workers to themselves has not."""
    is_exact = known.value is not None and known.low == known.value == known.high
    return figures.number(known.value, 0) if is_exact else figures.estimate(known, decimals)


def _in_per_cent(share: Estimate) -> Estimate:
    return Estimate(*(None if part is None else part * 100 for part in (share.value, share.low, share.high)))


def _beside_reference(points: Mapping[str, _Points], reference: str) -> list[str]:
    """Return tables of ratios to the reference with as many workers."""
    title = f"requests/s to those of\n{figures.printable(reference)} with as many"
    numbers = range(len(points[reference]))
    found = []
    for some in (numbers[i : i + _COLUMNS] for i in numbers[::_COLUMNS]):
        headers = [title, *(figures.plural(points[reference][i][0].workers, "worker") for i in some)]
        rows = [
            [figures.name(impl, _NAME_WIDTH), *(_ratio(of_impl[i][1].ratio) for i in some)]
            for impl, of_impl in points.items()
            if impl != reference
        ]
        found.append(figures.table(rows, headers, ("left", *["right"] * len(some))))
    return found


def _ratio(ratio: Estimate) -> str:
    return ("tie " if ratio.holds(1.0) else "") + figures.ratio(ratio)


def _remarks(points: Mapping[str, _Points]) -> list[str]:
    """Say what the figures of some points do not mean, and the evidence for it."""
    every = [(impl, point, entry) for impl, of_impl in points.items() for point, entry in of_impl]
    remarks = []
    of_processes = [(impl, point) for impl, point, entry in every if _is_of_processes(entry.cpu_us_per_request)]
    if of_processes and any(_is_of_processes(entry.cpu_us_per_request) is False for *_, entry in every):
        remarks.append(figures.wrap(_OF_PROCESSES.format(points=_named(of_processes, points)), WIDTH))
    for verdict in dict.fromkeys(entry.verdict for *_, entry in every if entry.verdict != SERVER_BOUND):
        found = [(impl, point, entry) for impl, point, entry in every if entry.verdict == verdict]
        named = _named([(impl, point) for impl, point, _ in found], points)
        meaning = _NOT_SERVER_BOUND.get(verdict, "").format(points=named)
        remarks.append("\n".join([*([figures.wrap(meaning, WIDTH)] if meaning else []), *_evidence(found)]))
    return [*remarks, *_without_speed_up(points)]


def _is_of_processes(cpu: CpuUsPerRequest) -> bool | None:
    """Tell whether it is the time of processes and not that of whole CPUs; None where neither is known."""
    return None if cpu.user is None else cpu.softirq is None


def _named(found: Iterable[tuple[str, ScalingPoint]], everybody: Collection[str]) -> str:
    """Return ``epoll_raw with 1 worker; all with 2 workers``: servers with the same numbers of workers together."""
    workers: dict[str, list[int]] = {}
    for impl, point in found:
        workers.setdefault(impl, []).append(point.workers)
    who: dict[tuple[int, ...], list[str]] = {}
    for impl, numbers in workers.items():
        who.setdefault(tuple(numbers), []).append(impl)
    return "; ".join(
        f"{'all' if 1 < len(impls) == len(everybody) else figures.listing(list(map(figures.printable, impls)))} "
        f"with {figures.listing([f'{n:,}' for n in numbers])} {'worker' if numbers == (1,) else 'workers'}"
        for numbers, impls in who.items()
    )


def _evidence(found: Iterable[tuple[str, ScalingPoint, CellSummary]]) -> list[str]:
    """Give the evidence for verdicts, points with the same together."""
    told: dict[tuple[str, str], list[tuple[str, ScalingPoint]]] = {}
    for impl, point, entry in found:
        told.setdefault((impl, f"{entry.verdict}: {entry.evidence}"), []).append((impl, point))
    return [
        figures.wrap(f"{_named(where, ())}: {figures.printable(why)}", WIDTH, "  ", "    ")
        for (_, why), where in told.items()
    ]


def _without_speed_up(points: Mapping[str, _Points]) -> list[str]:
    """Say why some points have none that might have one."""
    told: dict[str, list[tuple[str, ScalingPoint]]] = {}
    for impl, of_impl in points.items():
        for point, _ in of_impl:
            if point.why_no_speed_up:
                told.setdefault(point.why_no_speed_up, []).append((impl, point))
    return [
        figures.wrap(f"No speed-up ({_named(where, points)}): {figures.printable(why)}.", WIDTH)
        for why, where in told.items()
    ]
