"""A summary as OpenMetrics: gauges in base units; run, reference, cell and implementation as labels.

A figure without a claim has no sample. Ends of 95 % intervals are families of their own, ``…_low_…`` and ``…_high_…``.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from harness.profile_schema import Profile
from harness.schema import CellSummary, Estimate, LatencyUs, Plan, Summary

_CELL = ("impl", "workload", "workers", "concurrency", "idle", "rate")
_US = 1e-6
_LATENCIES = ("latency", "connect", "first_byte")


class _Figure(NamedTuple):
    """A figure of an entry."""

    name: str
    unit: str
    """What its name ends with; empty where there is none, as with a number of things."""
    help: str
    get: Callable[[CellSummary], Estimate | float | None]
    factor: float = 1.0
    """Makes a base unit of it."""


_FIGURES = (
    _Figure("throughput", "requests_per_second", "Correct replies per second.", lambda e: e.throughput_rps),
    _Figure("throughput", "ratio", "Throughput to that of the reference in the same round.", lambda e: e.ratio),
    _Figure("cpu_per_request", "seconds", "Server CPU time per request.", lambda e: e.cpu_us_per_request.total, _US),
    _Figure("cpu_user_per_request", "seconds", "The part in user mode.", lambda e: e.cpu_us_per_request.user, _US),
    _Figure("cpu_system_per_request", "seconds", "The part in the kernel.", lambda e: e.cpu_us_per_request.system, _US),
    _Figure("cpu_softirq_per_request", "seconds", "The part in softirq.", lambda e: e.cpu_us_per_request.softirq, _US),
    _Figure("cpu", "ratio", "CPU per request to that of the reference in the same round.", lambda e: e.cpu_ratio),
    _Figure("fixed_rate", "requests_per_second", "One rate for all.", lambda e: e.at_fixed_rate.rate_rps),
    _Figure(
        *("fixed_rate_cpu_per_request", "seconds", "Server CPU time per request at that rate."),
        lambda e: e.at_fixed_rate.cpu_us_per_request, _US,
    ),
    _Figure("fixed_rate_cpu", "ratio", "That to that of the reference.", lambda e: e.at_fixed_rate.cpu_ratio),
    _Figure("lateness", "seconds", "How late the generator itself began requests.", lambda e: e.lateness_us, _US),
    _Figure("memory", "bytes", "The most resident memory of the server.", lambda e: e.rss_bytes),
    _Figure("idle_memory", "bytes", "Memory for each idle connection.", lambda e: e.with_idle.rss_bytes),
    _Figure("idle_throughput", "ratio", "To that without idle ones.", lambda e: e.with_idle.throughput_ratio),
    _Figure("idle_cpu", "ratio", "CPU per request to that without idle ones.", lambda e: e.with_idle.cpu_ratio),
    _Figure("segments_in_per_request", "", "TCP segments received.", lambda e: e.segments_per_request.in_),
    _Figure("segments_out_per_request", "", "TCP segments sent.", lambda e: e.segments_per_request.out),
    _Figure("worker_share_min", "ratio", "The smallest share of a worker.", lambda e: e.worker_balance.min_share),
    _Figure("worker_share_max", "ratio", "The largest share of a worker.", lambda e: e.worker_balance.max_share),
    _Figure("local_accepts", "ratio", "Accepted where packets arrive.", lambda e: e.local_accept_share),
    _Figure("local_backends", "ratio", "To backends, read where packets arrive.", lambda e: e.local_backend_share),
    _Figure("requests", "", "Correct replies that were measured.", lambda e: e.requests),
    _Figure("errors", "", "Errors of all kinds.", lambda e: e.errors),
    _Figure("rounds", "", "Rounds with a rate.", lambda e: e.rounds),
    _Figure("conformant", "", "1: it kept the contract.", lambda e: e.conformant),
)  # fmt: skip


def write(name: str, plan: Plan, judged: Summary, stream: BinaryIO) -> None:
    """Write what is claimed of a run, which is called ``name``. Raises OSError."""
    stream.write(_exposition(name, plan, [_run(plan, interrupted=judged.interrupted), *_summary(judged)]))


def write_profile(name: str, plan: Plan, found: Profile, stream: BinaryIO) -> None:
    """Write where the core goes. Raises OSError."""
    stream.write(_exposition(name, plan, [_run(plan, interrupted=found.interrupted), *_profile(found)]))


def _exposition(name: str, plan: Plan, families: Sequence[Metric]) -> bytes:
    of_run = {"run": name, "reference": plan.reference}
    for family in families:
        family.samples = [one._replace(labels={**of_run, **one.labels}) for one in family.samples]

    class Found(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Found())
    return bytes(generate_latest(registry))  # type: ignore[no-untyped-call]  # the library has no type there


def _run(plan: Plan, *, interrupted: bool) -> Metric:
    info = InfoMetricFamily("percore_run", "What was measured.")
    labels = {"testbed": plan.testbed, "client": plan.client}
    info.add_metric([], {**labels, "seed": str(plan.seed), "interrupted": str(interrupted).lower()})
    return info


def _summary(judged: Summary) -> Iterator[Metric]:
    for figure in _FIGURES:
        samples = [(_labels(entry), figure.get(entry)) for entry in judged.cells]
        yield from _families(figure.name, figure.unit, figure.help, _CELL, samples, figure.factor)
    for kind in _LATENCIES:
        yield _latency(kind, judged)
    verdict = InfoMetricFamily("percore_verdict", "What limited it.", labels=_CELL)
    for entry in judged.cells:
        verdict.add_metric(_labels(entry), {"verdict": entry.verdict})
    yield verdict
    yield _ranks(judged)
    yield from _scaling(judged)


def _families(
    name: str,
    unit: str,
    text: str,
    labels: Sequence[str],
    samples: Sequence[tuple[Sequence[str], Estimate | float | None]],
    factor: float = 1.0,
) -> Iterator[Metric]:
    """Yield a gauge, and those of the ends of its interval, where it is such a figure."""
    estimates = [(values, one) for values, one in samples if isinstance(one, Estimate)]
    if not estimates:
        yield _gauge(
            name, unit, text, labels, [(v, one) for v, one in samples if not isinstance(one, Estimate)], factor
        )
        return
    yield _gauge(name, unit, text, labels, [(values, one.value) for values, one in estimates], factor)
    for end, of_what in (("low", "Lower"), ("high", "Upper")):
        ends = [(values, getattr(one, end)) for values, one in estimates]
        yield _gauge(f"{name}_{end}", unit, f"{of_what} end of its 95 % interval. {text}", labels, ends, factor)


def _gauge(
    name: str,
    unit: str,
    text: str,
    labels: Sequence[str],
    samples: Sequence[tuple[Sequence[str], float | None]],
    factor: float = 1.0,
) -> Metric:
    gauge = GaugeMetricFamily(f"percore_{name}", text, labels=labels, unit=unit)
    for values, figure in samples:
        if figure is not None:
            gauge.add_metric(values, float(figure) * factor)
    return gauge


def _latency(kind: str, judged: Summary) -> Metric:
    quantiles = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "p99_9": "0.999", "max": "1"}
    samples = []
    for entry in judged.cells:
        found: LatencyUs = getattr(entry, f"{kind}_us")
        samples += [((*_labels(entry), number), getattr(found, name)) for name, number in quantiles.items()]
    return _gauge(
        kind, "seconds", "So long, or less, for this share of the requests.", (*_CELL, "quantile"), samples, _US
    )


def _ranks(judged: Summary) -> Metric:
    gauge = GaugeMetricFamily("percore_rank", "1: nobody is shown to be better.", labels=[*_CELL, "by"])
    entries = {(entry.cell, entry.impl): entry for entry in judged.cells}
    for ranking in judged.rankings:
        for standing in ranking.standings:
            gauge.add_metric([*_labels(entries[ranking.cell, standing.impl]), ranking.by], standing.rank)
    return gauge


def _scaling(judged: Summary) -> Iterator[Metric]:
    points = [(one, point) for one in judged.scaling for point in one.points]
    if not points:
        return
    labels = ("impl", "workload", "workers")
    for name, text in (("speed_up", "Throughput to that with the fewest workers."), ("efficiency", "For each worker.")):
        samples = [((one.impl, one.workload, str(point.workers)), getattr(point, name)) for one, point in points]
        yield from _families(f"scaling_{name}", "ratio", text, labels, samples)
    for name, text in (("sigma", "Contention, as fitted."), ("kappa", "Coherency, as fitted.")):
        laws = [((one.impl, one.workload), getattr(one.law, name)) for one in judged.scaling if one.law is not None]
        yield from _families(f"scaling_{name}", "", text, labels[:2], laws)


def _profile(found: Profile) -> Iterator[Metric]:
    for by in ("categories", "contexts"):
        samples = [
            ((one.impl, part.name), part.us_per_request) for one in found.implementations for part in getattr(one, by)
        ]
        name = f"profile_{by}_per_request"
        yield from _families(
            name, "seconds", "CPU time per request, by what it was for.", ("impl", "part"), samples, _US
        )


def _labels(entry: CellSummary) -> list[str]:
    rate = "" if entry.rate_rps is None else str(entry.rate_rps)
    return [entry.impl, entry.workload, str(entry.workers), str(entry.concurrency), str(entry.idle), rate]
