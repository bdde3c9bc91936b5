"""Runs with a known truth: plans and slices as a machine would give them whose speed drifts from round to round."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.analysis.latency import WHOLE, LatencyHistogram
from harness.histogram_log import Key
from harness.schema import CpuUse, Plan, PlannedCell, PlannedImplementation, Slice, Workload

SLICE_S = 0.05
WALL_NS = 52_000_000


def planned(names: Sequence[str], *cells: PlannedCell, broken: Mapping[str, Sequence[str]] | None = None) -> Plan:
    failed = broken or {}
    return Plan(
        implementations=tuple(
            PlannedImplementation(
                name=name,
                argv=("python", "-m", f"impls.{name}"),
                version=f"impls.{name} 1.0",
                conformant=name not in failed,
                failed_cases=tuple(failed.get(name, ())),
            )
            for name in names
        ),
        reference=names[0],
        cells=cells or (cell(),),
        rounds=50,
        slice_s=SLICE_S,
        budget_s=10.0,
        seed=7,
    )


def cell(workload: Workload = "short", *, shared: bool = False, backend: Sequence[int] = ()) -> PlannedCell:
    return PlannedCell(
        workload,
        1,
        100,
        server_cpus=(0,),
        generator_cpus=(0,) if shared else (1,),
        backend_cpus=tuple(backend),
    )


@dataclass
class Server:
    """A server's true figures."""

    rate_rps: float
    server_busy: float = 0.97
    generator_busy: float = 0.70
    backend_busy: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    """In each slice."""
    watched: bool = True
    """Whether its CPUs were; in runs of schema 1 they were not."""


def measure(
    plan: Plan,
    servers: Mapping[str, Server],
    *,
    rounds: int = 50,
    noise: float = 0.05,
    drift: float = 0.2,
    seed: int = 1,
) -> list[Slice]:
    """Measure each server once a round, in every cell; ``drift`` is common to a round, ``noise`` to nothing."""
    return list(_slices(plan, servers, rounds, noise, drift, np.random.default_rng(seed)))


def _slices(
    plan: Plan, servers: Mapping[str, Server], rounds: int, noise: float, drift: float, rng: np.random.Generator
) -> Iterator[Slice]:
    for planned_cell in plan.cells:
        for number in range(rounds):
            speed = float(np.exp(rng.normal(0.0, drift)))
            for position, (name, server) in enumerate(servers.items()):
                rate = server.rate_rps * speed * float(np.exp(rng.normal(0.0, noise)))
                requests, counted = int(rate * SLICE_S), int(rate * SLICE_S * 0.8)
                yield Slice(
                    cell=planned_cell.key,
                    impl=name,
                    round=number,
                    position=position,
                    slice_s=SLICE_S,
                    wall_ns=WALL_NS,
                    requests=requests,
                    window_requests=counted,
                    window_ns=int(counted / rate * 1e9) if counted else 0,
                    errors=dict(server.errors),
                    generator_cpu_ns=[int(server.generator_busy * WALL_NS)],
                    server_cpu_ns=int(server.server_busy * WALL_NS),
                    server_user_ns=10_000_000,
                    server_system_ns=30_000_000,
                    backend_cpu_ns=int(server.backend_busy * WALL_NS),
                    cpus=_cpus(planned_cell, server) if server.watched else [],
                )


def _cpus(planned_cell: PlannedCell, server: Server) -> list[CpuUse]:
    """Let each side's processes, and nothing else, keep its CPUs busy."""
    busy: Counter[int] = Counter()
    sides = (
        (planned_cell.server_cpus, server.server_busy),
        (planned_cell.generator_cpus, server.generator_busy),
        (planned_cell.backend_cpus, server.backend_busy),
    )
    for cpus, share in sides:
        for cpu in cpus:
            busy[cpu] += round(share * WALL_NS / len(cpus))
    return [
        CpuUse(
            cpu=cpu,
            span_ns=WALL_NS,
            busy_ns=min(busy_ns, WALL_NS),
            exact=True,
            user_ns=10_000_000 // len(planned_cell.server_cpus),
            system_ns=10_000_000,
            softirq_ns=20_000_000,
            idle_ns=10_000_000,
            steal_ns=0,
        )
        for cpu, busy_ns in sorted(busy.items())
    ]


def latencies(plan: Plan, median_us: Mapping[str, float], count: int = 2000) -> dict[Key, LatencyHistogram]:
    rng = np.random.default_rng(3)
    found: dict[Key, LatencyHistogram] = {}
    for planned_cell in plan.cells:
        for name, median in median_us.items():
            histogram = found[planned_cell.key, name, WHOLE] = LatencyHistogram()
            histogram.record((median * 1000 * np.exp(rng.normal(0.0, 0.3, count))).astype(np.uint64))
    return found
