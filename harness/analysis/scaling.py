"""From throughput against workers to speed-up, efficiency and a law, for each implementation of a run."""

from collections.abc import Mapping, Sequence

from harness.analysis import scalability, stats
from harness.analysis.series import NOTHING, Series
from harness.analysis.stats import ByRound
from harness.analysis.verdicts import SERVER_BOUND
from harness.schema import CellSummary, Estimate, Phase, Plan, Scaling, ScalingLaw, ScalingPoint


def judge(
    plan: Plan, measured: Mapping[tuple[str, str, Phase], Series], summaries: Sequence[CellSummary]
) -> tuple[Scaling, ...]:
    """Say how throughput grows with workers, workload by workload; nothing of a run that did not set out for that."""
    if not plan.interleaved:
        return ()
    found = []
    for group in plan.groups:
        keys = {cell.key for cell in group}
        for impl in plan.taking_part(group[0]):
            entries = [one for one in summaries if one.impl == impl.name and one.cell.key in keys]
            entries.sort(key=lambda one: (one.workers, one.concurrency))
            series = [measured.get((one.cell.key, one.impl, "load"), NOTHING) for one in entries]
            found.append(_scaling(plan, entries, series))
    return tuple(found)


def _scaling(plan: Plan, entries: Sequence[CellSummary], series: Sequence[Series]) -> Scaling:
    rates_rps = [one.rates_rps if _is_claimed(entry) else {} for entry, one in zip(entries, series, strict=True)]
    points = [
        _point(plan, entry, entries[0], own, rates_rps[0], one.blocks)
        for entry, own, one in zip(entries, rates_rps, series, strict=True)
    ]
    law, why = _law(plan, entries, rates_rps, series[0].blocks)
    return Scaling(impl=entries[0].impl, workload=entries[0].workload, points=tuple(points), law=law, why_no_law=why)


def _is_claimed(entry: CellSummary) -> bool:
    return entry.throughput_rps.value is not None


def _point(
    plan: Plan, entry: CellSummary, fewest: CellSummary, own: ByRound, base: ByRound, blocks: Mapping[int, int]
) -> ScalingPoint:
    """Compare a point with that of the fewest workers, round by round."""
    if entry is fewest:
        speed_up = Estimate(1.0, 1.0, 1.0) if own else Estimate()
    else:
        speed_up = stats.ratio(own, base, stats.draws(plan.seed, entry.cell.key, "speed-up", entry.impl), blocks)
    return ScalingPoint(
        workers=entry.workers,
        concurrency=entry.concurrency,
        speed_up=speed_up,
        efficiency=_times(speed_up, fewest.workers / entry.workers),
    )


def _times(estimate: Estimate, factor: float) -> Estimate:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _law(
    plan: Plan, entries: Sequence[CellSummary], rates_rps: Sequence[ByRound], blocks: Mapping[int, int]
) -> tuple[ScalingLaw | None, str]:
    """Fit the law, or say why that would claim more than was measured."""
    by_workers = {entry.workers: own for entry, own in zip(entries, rates_rps, strict=True)}
    if len(by_workers) < scalability.FEWEST_POINTS:
        return (
            None,
            f"it takes {scalability.FEWEST_POINTS} numbers of workers at least, and there are {len(by_workers)}",
        )
    if others := [entry for entry in entries if entry.verdict != SERVER_BOUND]:
        named = ", ".join(f"{entry.verdict} with {entry.workers}" for entry in others)
        return None, f"all points must be server-bound, and it was {named}"
    rounds = len(frozenset.intersection(*(frozenset(own) for own in rates_rps)))
    if rounds < scalability.FEWEST_ROUNDS:
        return None, f"it takes {scalability.FEWEST_ROUNDS} rounds with a rate for each point, and there are {rounds}"
    draws = stats.draws(plan.seed, "law", entries[0].workload, entries[0].impl)
    beyond = [workers for workers in plan.extrapolate_to if workers > max(by_workers)]
    return scalability.fit(by_workers, draws, blocks, beyond), ""
