"""From throughput against workers to speed-up, efficiency and a law, for each implementation of a run."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis import scalability, stats
from harness.analysis.series import NOTHING, Series
from harness.analysis.stats import ByRound
from harness.analysis.verdicts import SERVER_BOUND, WITHOUT_CLAIM
from harness.schema import (
    CellSummary,
    Estimate,
    Extrapolation,
    Phase,
    Plan,
    Scaling,
    ScalingLaw,
    ScalingPoint,
    Workload,
)


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


def curve(
    plan: Plan, measured: Mapping[tuple[str, str, Phase], Series], found: Scaling, workers: Sequence[int]
) -> tuple[Extrapolation, ...]:
    """Return what the law of ``found``, which has one, says of numbers of workers, measured ones or not.

    Its figures are those of ``found`` where that has them: it is fitted once more to the same rounds.
    """
    keys = {
        cell.key: cell.workers
        for cell in plan.cells
        for point in found.points
        if (cell.workload, cell.workers, cell.concurrency) == (found.workload, point.workers, point.concurrency)
    }
    series = {number: measured[key, found.impl, "load"] for key, number in keys.items()}
    fewest = series[min(series)]
    rates_rps = {number: one.rates_rps for number, one in series.items()}
    draws = _draws_of_law(plan, found.workload, found.impl)
    return scalability.fit(rates_rps, draws, fewest.blocks, workers).extrapolations


def _draws_of_law(plan: Plan, workload: Workload, impl: str) -> np.random.Generator:
    return stats.draws(plan.seed, "law", workload, impl)


def _scaling(plan: Plan, entries: Sequence[CellSummary], series: Sequence[Series]) -> Scaling:
    measured = [_Measured(entry, _counted_as(entry, one)) for entry, one in zip(entries, series, strict=True)]
    law, why = _law(plan, measured)
    points = tuple(_point(plan, one, measured[0]) for one in measured)
    return Scaling(impl=entries[0].impl, workload=entries[0].workload, points=points, law=law, why_no_law=why)


@dataclass(frozen=True, slots=True)
class _Measured:
    """One implementation with one number of workers."""

    entry: CellSummary
    series: Series

    @property
    def is_claimed(self) -> bool:
        return self.entry.verdict not in WITHOUT_CLAIM

    @property
    def has_rate(self) -> bool:
        return self.entry.throughput_rps.value is not None

    @property
    def rates_rps(self) -> ByRound:
        return self.series.rates_rps if self.has_rate else {}

    @property
    def cpu_us(self) -> ByRound:
        return self.series.cpu_us if self.entry.cpu_us_per_request.total is not None else {}


def _counted_as(entry: CellSummary, series: Series) -> Series:
    """Count CPU time as the entry does."""
    return replace(series, counts_whole_cpus=entry.cpu_us_per_request.softirq is not None)


def _point(plan: Plan, one: _Measured, fewest: _Measured) -> ScalingPoint:
    """Compare a point with that of the fewest workers, round by round."""
    entry, blocks = one.entry, one.series.blocks
    speed_up = _to_fewest(plan, "speed-up", one, fewest, lambda each: each.rates_rps)
    alike = one.series.counts_whole_cpus == fewest.series.counts_whole_cpus
    draws = stats.draws(plan.seed, entry.cell.key, "cpu by workers", entry.impl)
    return ScalingPoint(
        workers=entry.workers,
        concurrency=entry.concurrency,
        speed_up=speed_up,
        efficiency=_times(speed_up, fewest.entry.workers / entry.workers),
        why_no_speed_up=_why_no_speed_up(one, fewest) if one.is_claimed and speed_up.value is None else "",
        cpu_us_per_request=stats.mean(one.cpu_us, draws, blocks),
        cpu_ratio=_to_fewest(plan, "cpu ratio", one, fewest, lambda each: each.cpu_us) if alike else Estimate(),
    )


def _to_fewest(
    plan: Plan, what: str, one: _Measured, fewest: _Measured, figure: Callable[[_Measured], ByRound]
) -> Estimate:
    if one is fewest:
        return Estimate(1.0, 1.0, 1.0) if figure(one) else Estimate()
    draws = stats.draws(plan.seed, one.entry.cell.key, what, one.entry.impl)
    return stats.ratio(figure(one), figure(fewest), draws, one.series.blocks)


def _why_no_speed_up(one: _Measured, fewest: _Measured) -> str:
    if not one.has_rate:
        return one.series.lack or f"fewer than {stats.FEWEST_ROUNDS} rounds were measured"
    workers = "1 worker" if fewest.entry.workers == 1 else f"{fewest.entry.workers} workers"
    if not fewest.has_rate:
        return f"there is no rate with {workers} to compare with"
    return f"fewer than {stats.FEWEST_ROUNDS} rounds have a rate both here and with {workers}"


def _times(estimate: Estimate, factor: float) -> Estimate:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _law(plan: Plan, measured: Sequence[_Measured]) -> tuple[ScalingLaw | None, str]:
    """Fit the law, or say why that would claim more than was measured."""
    by_workers = {one.entry.workers: one.rates_rps for one in measured}
    if len(by_workers) < scalability.FEWEST_POINTS:
        return None, f"it takes {scalability.FEWEST_POINTS} numbers of workers at least, and {_there_are(by_workers)}"
    others: dict[str, list[str]] = {}
    for one in measured:
        if one.entry.verdict != SERVER_BOUND:
            others.setdefault(one.entry.verdict, []).append(f"{one.entry.workers}")
    if others:
        named = ", ".join(f"{verdict} with {' and '.join(workers)}" for verdict, workers in others.items())
        return None, f"all points must be server-bound, and it was {named}"
    rounds = frozenset.intersection(*map(frozenset, by_workers.values()))
    if len(rounds) < scalability.FEWEST_ROUNDS:
        return None, f"it takes {scalability.FEWEST_ROUNDS} rounds with a rate for each point, and {_there_are(rounds)}"
    entry = measured[0].entry
    draws = _draws_of_law(plan, entry.workload, entry.impl)
    beyond = [workers for workers in plan.extrapolate_to if workers > max(by_workers)]
    return scalability.fit(by_workers, draws, measured[0].series.blocks, beyond), ""


def _there_are(several: Sized) -> str:
    return f"there {'is' if len(several) == 1 else 'are'} {len(several)}"
