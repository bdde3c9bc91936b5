"""How throughput grows with workers: a table of points for each workload, the fitted law, and what it says beyond."""

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis import published
from harness.analysis.verdicts import SERVER_BOUND, WITHOUT_CLAIM
from harness.report import figures, tables
from harness.report.environment import changed
from harness.schema import (
    CellSummary,
    CpuUsPerRequest,
    Estimate,
    Scaling,
    ScalingLaw,
    ScalingPoint,
    Summary,
    Workload,
)

_WIDTH = 100
"""Columns; a point has fewer figures than a row of a comparison."""
_NAME_WIDTH = len("epoll_raw+lean")
_PARAMETER_DECIMALS = 5
_LEGEND = (
    "Ranges are 95 % intervals. Speed-up is to the fewest workers, taken within each round; efficiency is that for "
    "each worker, in per cent. CPU is what the server's CPUs spent on a request. Local are connections whose packets "
    "arrive on the CPU of their worker; a proxy's clients' + those to its backends."
)
_OF_PROCESSES = (
    "CPU {points} is that of the server's processes alone, without packets that came while they slept: it does not "
    "compare with the rest."
)
_NOT_SERVER_BOUND = (
    "The server is not the limit {points}: there speed-up and efficiency are those of this machine with its client on "
    "it, and say nothing of how the kernel scales."
)
_LAW = "Universal Scalability Law: N workers do lambda N / (1 + sigma (N - 1) + kappa N (N - 1)) requests/s"
_EXTRAPOLATED = (
    "Extrapolated, not measured: requests/s by the law, if it goes on as it began, on CPUs like those that were used. "
    "That it does is an assumption, and the intervals leave out how far it may be wrong."
)

_Points = Sequence[tuple[ScalingPoint, CellSummary]]
"""Of one implementation, with what is claimed of each."""


def render(summary: Summary) -> str:
    """Return the report of a run that asked how servers scale."""
    parts: list[str] = []
    for workload in dict.fromkeys(one.workload for one in summary.scaling):
        parts += _of_workload(summary, workload)
    parts.append(figures.wrap(_LEGEND, _WIDTH))
    if summary.interrupted:
        parts.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    if summary.environment_changes:
        parts.append(changed(summary.environment_changes, _WIDTH))
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
        parts.append(_beside_reference(points, summary.reference))
    parts += _remarks(points)
    parts.append(_laws(several))
    parts += _extrapolated(several)
    return [*parts, *_published(workload)]


def _heading(workload: Workload, points: Mapping[str, _Points]) -> str:
    every = [pair for of_impl in points.values() for pair in of_impl]
    rounds = figures.plural(max(entry.rounds for _, entry in every), "round")
    for_each = {point.concurrency / point.workers for point, _ in every}
    connections = f", {figures.plural(round(for_each.pop()), 'connection')} for each" if len(for_each) == 1 else ""
    return f"{workload.upper()}: requests/s against workers{connections}, {rounds}"


def _table(points: Mapping[str, _Points]) -> str:
    headers = [
        "", "workers", "requests/s", "speed-up", "effi-\nciency", "CPU µs\n/request", "share of\na worker", "verdict",
    ]  # fmt: skip
    rows = [
        ["" if i else figures.name(impl, _NAME_WIDTH), *_row(point, entry)]
        for impl, of_impl in points.items()
        for i, (point, entry) in enumerate(of_impl)
    ]
    return figures.table(rows, headers, ("left", *["right"] * 6, "left"))


def _row(point: ScalingPoint, entry: CellSummary) -> list[str]:
    return [
        f"{point.workers:,}",
        figures.estimate(entry.throughput_rps, 0),
        _to_fewest(point.speed_up, 2),
        _to_fewest(_in_per_cent(point.efficiency), 0),
        figures.number(entry.cpu_us_per_request.total, 1),
        tables.sharing(entry),
        entry.verdict,
    ]


def _to_fewest(known: Estimate, decimals: int) -> str:
    """Return a figure and its interval, which that of the fewest workers to themselves has not."""
    is_exact = known.value is not None and known.low == known.value == known.high
    return figures.number(known.value, 0) if is_exact else figures.estimate(known, decimals)


def _in_per_cent(share: Estimate) -> Estimate:
    return Estimate(*(None if part is None else part * 100 for part in (share.value, share.low, share.high)))


def _beside_reference(points: Mapping[str, _Points], reference: str) -> str:
    """Return a table of ratios to the reference with as many workers."""
    others = [impl for impl in points if impl != reference]
    headers = [
        f"requests/s to those of\n{figures.printable(reference)} with as many",
        *(figures.name(impl, _NAME_WIDTH) for impl in others),
    ]
    rows = [
        [figures.plural(point.workers, "worker"), *(_ratio(points[impl][i][1].ratio) for impl in others)]
        for i, (point, _) in enumerate(points[reference])
    ]
    return figures.table(rows, headers, ("left", *["right"] * len(others)))


def _ratio(ratio: Estimate) -> str:
    return ("tie " if ratio.holds(1.0) else "") + figures.ratio(ratio)


def _remarks(points: Mapping[str, _Points]) -> list[str]:
    """Say what the figures of some points do not mean, and the evidence for it."""
    every = [pair for of_impl in points.values() for pair in of_impl]
    remarks = []
    of_processes = [point for point, entry in every if _is_of_processes(entry.cpu_us_per_request)]
    if of_processes and any(_is_of_processes(entry.cpu_us_per_request) is False for _, entry in every):
        remarks.append(figures.wrap(_OF_PROCESSES.format(points=_named(of_processes)), _WIDTH))
    unbound = [point for point, entry in every if entry.verdict not in {SERVER_BOUND, *WITHOUT_CLAIM}]
    said = [figures.wrap(_NOT_SERVER_BOUND.format(points=_named(unbound)), _WIDTH)] if unbound else []
    said += _evidence(points)
    return [*remarks, "\n".join(said)] if said else remarks


def _is_of_processes(cpu: CpuUsPerRequest) -> bool | None:
    """Tell whether it is the time of processes and not that of whole CPUs; None where neither is known."""
    return None if cpu.user is None else cpu.softirq is None


def _named(points: Iterable[ScalingPoint]) -> str:
    workers = sorted({point.workers for point in points})
    return f"with {figures.listing([f'{n:,}' for n in workers])} {'worker' if workers == [1] else 'workers'}"


def _evidence(points: Mapping[str, _Points]) -> list[str]:
    """Give the evidence for all verdicts but server-bound, points with the same together."""
    found: dict[tuple[str, str], list[ScalingPoint]] = {}
    for impl, of_impl in points.items():
        for point, entry in of_impl:
            if entry.verdict != SERVER_BOUND:
                found.setdefault((impl, f"{entry.verdict}: {entry.evidence}"), []).append(point)
    return [
        figures.wrap(f"{figures.printable(impl)} {_named(where)}: {figures.printable(why)}", _WIDTH, "  ", "    ")
        for (impl, why), where in found.items()
    ]


def _laws(several: Sequence[Scaling]) -> str:
    told: dict[str, list[str]] = {}
    for one in several:
        text = f"not fitted: {one.why_no_law}" if one.law is None else _law(one.law)
        told.setdefault(text, []).append(figures.printable(one.impl))
    lines = [figures.wrap(f"{figures.listing(names)}: {text}.", _WIDTH, "  ", "    ") for text, names in told.items()]
    return "\n".join([_LAW, *lines])


def _law(law: ScalingLaw) -> str:
    peak = "no peak is shown, as kappa's interval holds 0"
    if law.peak_workers.value is not None:
        peak = f"the most with {_with_interval(law.peak_workers, 0)} workers"
    return (
        f"contention sigma {_with_interval(law.sigma, _PARAMETER_DECIMALS)}, coherency kappa "
        f"{_with_interval(law.kappa, _PARAMETER_DECIMALS)}, lambda {_with_interval(law.lambda_rps, 0)} requests/s; "
        f"{peak}; no point is off by more than {figures.per_cent(law.largest_deviation)} %"
    )


def _with_interval(known: Estimate, decimals: int) -> str:
    return f"{figures.number(known.value, decimals)} ({figures.interval(known, decimals)})"


def _extrapolated(several: Sequence[Scaling]) -> list[str]:
    """Return what the laws say beyond what was measured, in a table of its own."""
    laws = {one.impl: one.law for one in several if one.law is not None and one.law.extrapolations}
    if not laws:
        return []
    beyond = [one.workers for one in next(iter(laws.values())).extrapolations]
    headers = ["extrapolated", *(figures.plural(workers, "worker") for workers in beyond)]
    rows = [
        [figures.name(impl, _NAME_WIDTH), *(figures.estimate(one.throughput_rps, 0) for one in law.extrapolations)]
        for impl, law in laws.items()
    ]
    return [figures.wrap(_EXTRAPOLATED, _WIDTH), figures.table(rows, headers, ("left", *["right"] * len(beyond)))]


def _published(workload: Workload) -> list[str]:
    throughputs = published.THROUGHPUTS_RPS.get(workload)
    if throughputs is None:
        return []
    each = figures.listing([f"{rps:,} with {kernel}" for kernel, rps in throughputs.items()])
    efficiency = published.FASTSOCKET_SPEED_UP / published.CORES
    text = (
        f"Other hardware, another server (nginx): on {published.CORES} cores {each} connections/s; with Fastsocket "
        f"{published.FASTSOCKET_SPEED_UP} times what one core did, an efficiency of {efficiency * 100:.0f} % "
        f"({published.SOURCE}). What may be laid beside ours is how it grows, not how much it is."
    )
    return [figures.wrap(text, _WIDTH)]
