"""How busy CPUs were, in one line that stays one."""

import pytest

from harness.analysis.busy import Busy
from harness.analysis.series import Series
from harness.schema import CpuUse, PlannedCell, Slice, Workload

SPAN_NS = 1_000_000


def busy(where: PlannedCell, shares: dict[int, float], **processes_ns: object) -> Busy:
    uses = [
        CpuUse(
            cpu=cpu, span_ns=SPAN_NS, busy_ns=round(share * SPAN_NS), user_ns=0, system_ns=0, softirq_ns=0,
            idle_ns=0, steal_ns=0,
        )
        for cpu, share in shares.items()
    ]  # fmt: skip
    piece = Slice(
        cell=where.key, impl="a", round=0, position=0, slice_s=0.001, wall_ns=SPAN_NS, requests=1, window_requests=1,
        window_ns=1, cpus=uses, **processes_ns,  # type: ignore[arg-type]
    )  # fmt: skip
    return Busy(where, Series({0: piece}))


def cell(
    server: tuple[int, ...], client: tuple[int, ...], backend: tuple[int, ...] = (), workers: int = 1
) -> PlannedCell:
    workload: Workload = "proxy" if backend else "short"
    return PlannedCell(workload, workers, 100, server_cpus=server, generator_cpus=client, backend_cpus=backend)


def test_many_cpus_are_a_range_with_the_mean_and_the_extremes() -> None:
    where = cell(tuple(range(16)), tuple(range(16, 48)), (48, 50, 52))
    shares = {cpu: 0.5 + cpu / 50 for cpu in range(16)} | dict.fromkeys(range(16, 48), 0.25)
    shares |= {48: 0.1, 50: 0.2, 52: 0.3}
    found = busy(where, shares)
    assert found.describe() == (
        "server CPUs 0-15 busy 65 % (50 to 80), client CPUs 16-47 busy 25 % (25 to 25), "
        "backend CPUs 48,50,52 busy 20 % (10 to 30)"
    )
    assert found.server == pytest.approx(0.65)
    assert found.backend == pytest.approx(0.2)


def test_the_busiest_client_cpu_is_the_client_s_figure() -> None:
    assert busy(cell((0,), (1, 2, 3)), {0: 0.5, 1: 0.2, 2: 0.9, 3: 0.1}).client == pytest.approx(0.9)


def test_sides_on_the_same_cpus_are_told_together() -> None:
    found = busy(cell((0,), (1,), (1,)), {0: 0.5, 1: 0.97}, backend_cpu_ns=600_000, generator_cpu_ns=[300_000])
    assert found.describe() == "server CPU 0 busy 50 %, client and backend CPU 1 busy 97 %"
    assert found.backend_outweighs_client
    assert not found.backend_shares_with_server
    assert not busy(cell((0,), (1,), (1,)), {}, backend_cpu_ns=3, generator_cpu_ns=[2, 2]).backend_outweighs_client
    assert busy(cell((0,), (1,), (0,)), {}).backend_shares_with_server


def test_where_no_cpu_was_watched_it_is_the_processes_own_time() -> None:
    found = busy(cell((0, 1), (2, 3)), {}, server_cpu_ns=1_500_000, generator_cpu_ns=[400_000, 200_000])
    assert found.describe() == "server CPUs 0-1 busy 75 % (75 to 75), client CPUs 2-3 busy 30 % (30 to 30)"
    assert (found.server, found.client) == (0.75, 0.4)


def test_a_cell_without_slices_was_not_busy() -> None:
    found = Busy(cell((0,), (1,), (2,)), Series({}))
    assert (found.server, found.client, found.backend) == (0.0, 0.0, 0.0)
    assert found.describe() == "server CPU 0 busy 0 %, client CPU 1 busy 0 %, backend CPU 2 busy 0 %"
