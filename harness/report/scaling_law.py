"""What the law of scaling says of each server, what it says beyond that, and figures of others."""

import math
from collections.abc import Sequence

from harness.analysis import published
from harness.report import figures
from harness.report.figures import WIDTH
from harness.schema import Estimate, Scaling, ScalingLaw, Workload

_NAME_WIDTH = len("epoll_raw+lean")
_DIGITS = 3
_LEAST_PLAIN = 1e-9
"""What is smaller is written with an exponent."""
_LAW = "Universal Scalability Law: N workers do lambda N / (1 + sigma (N - 1) + kappa N (N - 1)) requests/s"
_EXTRAPOLATED = (
    "Extrapolated, not measured: requests/s by the law, if it goes on as it began, on CPUs like those that were used. "
    "That it does is an assumption, and the intervals leave out how far it may be wrong."
)


def render(several: Sequence[Scaling]) -> list[str]:
    """Return paragraphs and tables on servers with one workload; nothing where each has one number of workers."""
    if all(len(one.points) == 1 for one in several):
        return []
    return [_laws(several), *_extrapolated(several)]


def others(workload: Workload) -> list[str]:
    """Return what others have published."""
    throughputs = published.THROUGHPUTS_RPS.get(workload)
    if throughputs is None:
        return []
    each = figures.listing([f"{rps:,} with {kernel}" for kernel, rps in throughputs.items()])
    low, high = (100 * times / published.CORES for times in (published.PAPER_SPEED_UP, published.FASTSOCKET_SPEED_UP))
    text = (
        f"Other hardware, another server (nginx), connections/s on {published.CORES} cores: {each}; with Fastsocket "
        f"that is {published.FASTSOCKET_SPEED_UP:g} times what one core did ({published.SOURCE}), or "
        f"{published.PAPER_SPEED_UP:g} times (the abstract of {published.PAPER}), an efficiency of {low:.0f} to "
        f"{high:.0f} %. What may be laid beside ours is how it grows, not how much it is."
    )
    return [figures.wrap(text, WIDTH)]


def told(several: Sequence[Scaling]) -> list[str]:
    """Return a sentence on the law of each, or why it has none; those with the same together."""
    names_of: dict[str, list[str]] = {}
    for one in several:
        text = f"not fitted: {one.why_no_law}" if one.law is None else _law(one.law, one.points[-1].workers)
        names_of.setdefault(text, []).append(figures.printable(one.impl))
    return [f"{figures.listing(names)}: {text}." for text, names in names_of.items()]


def _laws(several: Sequence[Scaling]) -> str:
    return "\n".join([_LAW, *(figures.wrap(sentence, WIDTH, "  ", "    ") for sentence in told(several))])


def _law(law: ScalingLaw, largest: int) -> str:
    sigma, kappa = (f"{_significant(one.value)} ({_bounds(one)})" for one in (law.sigma, law.kappa))
    return (
        f"contention sigma {sigma}, coherency kappa {kappa}, lambda {figures.number(law.lambda_rps.value, 0)} "
        f"({figures.interval(law.lambda_rps, 0)}) requests/s; {_peak(law.peak_workers, largest)}; "
        f"no point is off by more than {_at_most(law.largest_deviation)} %"
    )


def _peak(workers: Estimate, largest: int) -> str:
    if workers.value is None:
        return "no peak is shown, as kappa's interval holds 0"
    told = f"the most with {figures.number(workers.value, 0)} ({figures.interval(workers, 0)}) workers"
    return told if workers.value <= largest else f"{told}, extrapolated from {largest}"


def _bounds(known: Estimate) -> str:
    return f"{_significant(known.low)}\N{EN DASH}{_significant(known.high)}"


def _significant(value: float | None) -> str:
    """Return three digits that say something, as in ``0.0000123``: a bound that is not 0 never looks like it."""
    if not value:
        return figures.number(value, 0)
    if value < _LEAST_PLAIN:
        return f"{value:.{_DIGITS - 1}e}"
    return figures.number(value, max(0, _DIGITS - 1 - math.floor(math.log10(value))))


def _at_most(share: float) -> str:
    """Return a share in per cent, rounded up and at least 0.1: what is said not to be exceeded is not."""
    return figures.per_cent(max(1, math.ceil(share * 1000)) / 1000)


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
    return [figures.wrap(_EXTRAPOLATED, WIDTH), figures.table(rows, headers, ("left", *["right"] * len(beyond)))]
