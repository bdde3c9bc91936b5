"""From a plan and its slices to the summary: what is claimed of each implementation in each cell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np

from harness.analysis import stats, verdicts
from harness.analysis.latency import LatencyHistogram
from harness.analysis.ranking import rank
from harness.analysis.series import Series, gather
from harness.analysis.stats import ByRound
from harness.analysis.verdicts import Load, Verdict
from harness.schema import (
    CellSummary,
    Estimate,
    LatencyUs,
    Plan,
    PlannedCell,
    PlannedImplementation,
    Ranking,
    Slice,
    Summary,
)

_NONE = Series({})


def compare(
    plan: Plan,
    slices: Iterable[Slice],
    latencies: Mapping[tuple[str, str], LatencyHistogram],
    *,
    interrupted: bool = False,
) -> Summary:
    """Sum up a run; the same plan and slices always give the same figures.

    ``latencies`` are keyed by cell key and implementation. Slices of cells or implementations that the
    plan does not know, and of those that failed conformance, are not looked at.
    """
    measured = gather(slices)
    cells: list[CellSummary] = []
    rankings: list[Ranking] = []
    for cell in plan.cells:
        field = _Field(plan, cell, {impl.name: measured.get((cell.key, impl.name), _NONE) for impl in plan.conformant})
        cells += [field.summarise(impl, latencies.get((cell.key, impl.name))) for impl in plan.implementations]
        verdict_of = {impl.name: field.judge(impl).name for impl in plan.conformant}
        rankings.append(rank(cell, field.series, verdict_of, plan.seed))
    return Summary(reference=plan.reference, cells=tuple(cells), rankings=tuple(rankings), interrupted=interrupted)


@dataclass(frozen=True)
class _Field:
    """All implementations that ran in one cell."""

    plan: Plan
    cell: PlannedCell
    series: Mapping[str, Series]

    def judge(self, impl: PlannedImplementation) -> Verdict:
        if not impl.conformant:
            return verdicts.not_conformant(impl.failed_cases)
        return verdicts.judge(Load(self.cell, self.series[impl.name]))

    @cached_property
    def reference(self) -> Series:
        """What ratios are taken to; empty when the reference allows no claim."""
        reference = next(impl for impl in self.plan.implementations if impl.name == self.plan.reference)
        return _NONE if self.judge(reference).name in verdicts.WITHOUT_CLAIM else self.series[reference.name]

    def summarise(self, impl: PlannedImplementation, latency: LatencyHistogram | None) -> CellSummary:
        verdict = self.judge(impl)
        own = self.series.get(impl.name, _NONE)
        summary = CellSummary(
            impl=impl.name,
            workload=self.cell.workload,
            workers=self.cell.workers,
            concurrency=self.cell.concurrency,
            conformant=impl.conformant,
            requests=own.requests,
            errors=sum(own.errors.values()),
            verdict=verdict.name,
            evidence=verdict.evidence,
            errors_by_kind=dict(own.errors),
        )
        if len(own.slices) < stats.FEWEST_ROUNDS:
            return summary
        # Slices that are too short to tell a rate still have latencies and CPU times.
        rates_rps = {} if own.lack else own.rates_rps
        return msgspec.structs.replace(
            summary,
            rounds=len(rates_rps),
            throughput_rps=stats.mean(list(rates_rps.values()), self._draws("throughput", impl.name)),
            ratio=self._ratio("throughput", impl.name, rates_rps, self.reference.rates_rps),
            latency_us=latency.percentiles_us() if latency else LatencyUs(),
            cpu_us_per_request=own.cpu_us_per_request(),
            cpu_ratio=self._ratio("cpu", impl.name, own.cpu_us, self.reference.cpu_us),
        )

    def _ratio(self, what: str, impl: str, own: ByRound, reference: ByRound) -> Estimate:
        if impl == self.plan.reference:
            return Estimate(1.0, 1.0, 1.0) if own else Estimate()
        return stats.ratio(own, reference, self._draws("ratio", what, impl))

    def _draws(self, *names: str) -> np.random.Generator:
        return stats.draws(self.plan.seed, self.cell.key, *names)
