"""Runs with a known truth: plans and slices as a machine would give them whose speed drifts from round to round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.analysis.latency import LatencyHistogram
from harness.schema import Plan, PlannedCell, PlannedImplementation, Slice, Workload

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
                )


def latencies(plan: Plan, median_us: Mapping[str, float], count: int = 2000) -> dict[tuple[str, str], LatencyHistogram]:
    rng = np.random.default_rng(3)
    found = {}
    for planned_cell in plan.cells:
        for name, median in median_us.items():
            histogram = found[planned_cell.key, name] = LatencyHistogram()
            histogram.record((median * 1000 * np.exp(rng.normal(0.0, 0.3, count))).astype(np.uint64))
    return found
