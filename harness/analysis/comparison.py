"""From a plan and its slices to the summary: what is claimed of each implementation in each cell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, get_args

import msgspec
import numpy as np

from harness.analysis import scaling, stats, steadiness, verdicts
from harness.analysis.busy import Busy
from harness.analysis.latency import Kind, LatencyHistogram
from harness.analysis.ranking import rank
from harness.analysis.series import NOTHING, Series, counted_alike, gather
from harness.analysis.stats import ByRound
from harness.analysis.verdicts import Load, Verdict
from harness.schema import (
    AtFixedRate,
    CellSummary,
    Estimate,
    LatencyUs,
    Phase,
    Plan,
    PlannedCell,
    PlannedImplementation,
    Ranking,
    SegmentsPerRequest,
    Slice,
    Summary,
    WithIdle,
)

Latencies = Mapping[tuple[str, str, Kind], LatencyHistogram]
"""By cell key, implementation and kind."""

_PHASES: tuple[Phase, ...] = get_args(Phase)


def compare(plan: Plan, slices: Iterable[Slice], latencies: Latencies, *, interrupted: bool = False) -> Summary:
    """Sum up a run; the same plan and slices always give the same figures.

    Slices of cells or implementations that the plan does not know, and of those that failed conformance, are not
    looked at.
    """
    measured = gather(plan, slices)
    cells: list[CellSummary] = []
    rankings: list[Ranking] = []
    missed: list[str] = []
    for cell in plan.cells:
        field = _Field.of(plan, cell, measured)
        summaries = [field.summarise(impl, latencies) for impl in plan.taking_part(cell)]
        cells += summaries
        verdict_of = {impl.name: field.judged[impl.name].name for impl in plan.taking_part(cell) if impl.conformant}
        rankings.append(rank(cell, field.load, field.fixed_rate, verdict_of, plan.seed))
        if plan.precision is not None and not _is_within(summaries, plan.precision, plan.reference):
            missed.append(cell.key)
    return Summary(
        reference=plan.reference,
        cells=tuple(cells),
        rankings=tuple(rankings),
        interrupted=interrupted,
        precision=plan.precision,
        precision_missed=tuple(missed),
        scaling=scaling.judge(plan, measured, cells),
    )


class Glance(NamedTuple):
    """What is known of one implementation in one cell while the run is under way."""

    summary: CellSummary
    busy: Busy


def glance(plan: Plan, cell: PlannedCell, slices: Iterable[Slice]) -> list[Glance]:
    """Tell where a cell stands, in the order of the plan; nothing in it is the last word, and it has no latencies.

    The figures are those of ``compare``. Their intervals are Student's t, which takes a hundredth of the time, as this
    is computed while the next slice waits.
    """
    field = _Field.of(plan, cell, gather(plan, slices), quick=True)
    return [
        Glance(field.summarise(impl, {}), Busy(cell, field.load.get(impl.name, NOTHING)))
        for impl in plan.taking_part(cell)
    ]


def is_within(plan: Plan, cell: PlannedCell, slices: Sequence[Slice], share: float) -> bool:
    """Tell whether every interval of a ratio in a cell is within a share of its value.

    Of implementations that allow no claim nothing is waited for; others must have their ratios. Where there is nothing
    to compare, requests/s themselves are looked at.
    """
    field = _Field.of(plan, cell, gather(plan, slices))
    return _is_within([field.summarise(impl, {}) for impl in plan.taking_part(cell)], share, plan.reference)


def _is_within(summaries: Sequence[CellSummary], share: float, reference: str) -> bool:
    claimed = [one for one in summaries if one.verdict not in verdicts.WITHOUT_CLAIM]
    has_reference = any(one.impl == reference for one in summaries)
    compared = [one for one in claimed if one.impl != reference] if has_reference else []
    if not compared:
        estimates = [one.throughput_rps for one in claimed]
    else:
        estimates = [ratio for one in compared for ratio in (one.ratio, one.cpu_ratio)]
        estimates += [one.at_fixed_rate.cpu_ratio for one in compared if one.at_fixed_rate.rate_rps is not None]
    estimates += [one.with_idle.cpu_ratio for one in claimed if one.idle]
    widths = [estimate.half_width_share for estimate in estimates]
    return bool(widths) and all(width is not None and width <= share for width in widths)


@dataclass(frozen=True)
class _Field:
    """All implementations that ran in one cell."""

    plan: Plan
    cell: PlannedCell
    load: Mapping[str, Series]
    fixed_rate: Mapping[str, Series]
    without_idle: Mapping[str, Series]
    quick: bool
    """Whether intervals are those that take no random numbers (``stats``)."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        cell: PlannedCell,
        measured: Mapping[tuple[str, str, Phase], Series],
        *,
        quick: bool = False,
    ) -> "_Field":
        names = [impl.name for impl in plan.taking_part(cell) if impl.conformant]
        found = [measured.get((cell.key, name, phase), NOTHING) for phase in _PHASES for name in names]
        alike = iter(counted_alike(found))
        load, fixed_rate, without_idle = ({name: next(alike) for name in names} for _ in _PHASES)
        # An open loop offers one rate to all in every slice.
        return cls(plan, cell, load, fixed_rate if cell.rate_rps is None else load, without_idle, quick)

    @cached_property
    def judged(self) -> Mapping[str, Verdict]:
        """What limited each implementation, by its name; it takes a bootstrap for each."""
        return {impl.name: self._judge(impl) for impl in self.plan.taking_part(self.cell)}

    def _judge(self, impl: PlannedImplementation) -> Verdict:
        if not impl.conformant:
            # A run of schema 1 that ended early does not say that conformance was not known.
            unknown = not self.plan.conformance_checked or not impl.failed_cases
            return verdicts.not_checked() if unknown else verdicts.not_conformant(impl.failed_cases)
        own, fixed_rate = self.load[impl.name], self.fixed_rate[impl.name]
        unsteady = steadiness.why_unsteady(own, self._compared_with(impl), quick=self.quick)
        return verdicts.judge(Load(self.cell, own, fixed_rate, unsteady))

    def _compared_with(self, impl: PlannedImplementation) -> Series:
        return NOTHING if impl.name == self.plan.reference else self.load.get(self.plan.reference, NOTHING)

    @cached_property
    def has_reference(self) -> bool:
        """Whether the reference allows a claim, and so a ratio to it."""
        found = self.judged.get(self.plan.reference)
        return found is not None and found.name not in verdicts.WITHOUT_CLAIM

    def summarise(self, impl: PlannedImplementation, latencies: Latencies) -> CellSummary:
        verdict = self.judged[impl.name]
        own = self.load.get(impl.name, NOTHING)
        summary = CellSummary(
            impl=impl.name,
            workload=self.cell.workload,
            workers=self.cell.workers,
            concurrency=self.cell.concurrency,
            rate_rps=self.cell.rate_rps,
            idle=self.cell.idle,
            conformant=impl.conformant,
            requests=own.requests,
            errors=sum(own.errors.values()),
            verdict=verdict.name,
            evidence=verdict.evidence,
            errors_by_kind=dict(own.errors),
        )
        if len(own.slices) < stats.FEWEST_ROUNDS or verdict.name in verdicts.WITHOUT_CLAIM:
            return summary
        # Slices that are too short to tell a rate still have latencies and CPU times.
        rates_rps = {} if own.lack else own.rates_rps
        times = {kind: latencies.get((self.cell.key, impl.name, kind)) for kind in ("latency", "connect", "first-byte")}
        return msgspec.structs.replace(
            summary,
            rounds=len(rates_rps),
            throughput_rps=stats.mean(rates_rps, self._draws("throughput", impl.name), own.blocks),
            ratio=self._ratio(
                "throughput", impl.name, self.load, lambda series: {} if series.lack else series.rates_rps
            ),
            latency_us=_percentiles(times["latency"]),
            connect_us=_percentiles(times["connect"]),
            first_byte_us=_percentiles(times["first-byte"]),
            lateness_us=own.lateness_us if self.cell.rate_rps is not None else None,
            cpu_us_per_request=own.cpu_us_per_request(),
            cpu_ratio=self._ratio("cpu", impl.name, self.load, lambda series: series.cpu_us),
            at_fixed_rate=self._at_fixed_rate(impl.name),
            # On loopback both sides count into one: nothing can be told apart.
            segments_per_request=SegmentsPerRequest()
            if self.plan.testbed == "loopback"
            else own.segments_per_request(),
            rss_bytes=own.rss_bytes,
            worker_balance=own.worker_balance(),
            local_accept_share=own.local_accept_share,
            sampled_accepts=own.sampled_accepts,
            local_backend_share=own.local_backend_share,
            sampled_backends=own.sampled_backends,
            with_idle=self._with_idle(impl.name, verdict),
        )

    def _at_fixed_rate(self, impl: str) -> AtFixedRate:
        own = self.fixed_rate[impl]
        if not own.kept_its_rate:
            return AtFixedRate()
        return AtFixedRate(
            rate_rps=own.offered_rps,
            cpu_us_per_request=stats.mean(own.cpu_us, self._draws("fixed-rate", impl), own.blocks),
            cpu_ratio=self._ratio(
                "cpu at fixed rate", impl, self.fixed_rate, lambda series: series.cpu_us if series.kept_its_rate else {}
            ),
        )

    def _with_idle(self, impl: str, verdict: Verdict) -> WithIdle:
        if not self.cell.idle:
            return WithIdle()
        own, without = self.load[impl], self.without_idle[impl]
        resident = own.idle_rss_bytes
        known = WithIdle(rss_bytes=None if resident is None else resident / self.cell.idle)
        unsteady = steadiness.why_unsteady(own, without, quick=self.quick)
        alone = verdicts.judge(Load(self.cell, without, without, unsteady))
        if alone.name in verdicts.WITHOUT_CLAIM:
            return known
        cpu_ratio = stats.ratio(own.cpu_us, without.cpu_us, self._draws("idle", "cpu", impl), own.blocks)
        known = msgspec.structs.replace(known, cpu_ratio=cpu_ratio)
        # Where something else was the limit, both would come close to what that allows.
        if {verdict.name, alone.name} != {verdicts.SERVER_BOUND}:
            return known
        ratio = stats.ratio(own.rates_rps, without.rates_rps, self._draws("idle", "throughput", impl), own.blocks)
        return msgspec.structs.replace(known, throughput_ratio=ratio)

    def _ratio(
        self, what: str, impl: str, series: Mapping[str, Series], figure: Callable[[Series], ByRound]
    ) -> Estimate:
        own = figure(series[impl])
        if not self.has_reference:
            return Estimate()
        if impl == self.plan.reference:
            return Estimate(1.0, 1.0, 1.0) if own else Estimate()
        reference = figure(series[self.plan.reference])
        return stats.ratio(own, reference, self._draws("ratio", what, impl), series[impl].blocks)

    def _draws(self, *names: str) -> np.random.Generator | None:
        return None if self.quick else stats.draws(self.plan.seed, self.cell.key, *names)


def _percentiles(histogram: LatencyHistogram | None) -> LatencyUs:
    return histogram.percentiles_us() if histogram else LatencyUs()
