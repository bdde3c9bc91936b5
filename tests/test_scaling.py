"""From a run with several numbers of workers to speed-up, efficiency and the law, and how people read it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from harness import plan as planning
from harness.analysis import scalability, verdicts
from harness.analysis.comparison import compare
from harness.errors import BadInput
from harness.report import scaling as report
from harness.schema import Cell, Plan, PlannedCell, Scaling, Slice, Summary, WorkerLocality
from tests.simulated import Server, measure, planned

CLIENT = 900
PLAIN, PERCPU = "epoll_raw", "epoll_raw+percpu"


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalability, "RESAMPLES", 299)


@dataclass(frozen=True)
class Scales:
    """A server's truth."""

    rps: Callable[[int], float]
    client_is_limit_from: int = 1000
    fails_from: int = 1000
    local_of_100: int = 50


STRAIGHT = Scales(lambda workers: 10_000.0 * workers, local_of_100=97)
BENT = Scales(lambda workers: 10_000.0 * workers / (1 + 0.2 * (workers - 1) + 0.002 * workers * (workers - 1)))


def plan_for(names: Sequence[str], workers: Sequence[int], workload: str = "short") -> Plan:
    cells = [
        PlannedCell(workload, n, 100 * n, server_cpus=tuple(range(n)), generator_cpus=(CLIENT,))  # type: ignore[arg-type]
        for n in workers
    ]
    plan = planned(names, *cells)
    return msgspec.structs.replace(plan, interleaved=True, extrapolate_to=(8, 24))


def slices_of(plan: Plan, servers: Mapping[str, Scales], rounds: int = 24) -> Iterator[Slice]:
    """Measure with a drift that all have in common in a round, and noise of each slice's own."""
    rng = np.random.default_rng(5)
    for cell in plan.cells:
        true = {
            name: Server(
                one.rps(cell.workers),
                server_busy=0.98 * cell.workers,
                generator_busy=0.99 if cell.workers >= one.client_is_limit_from else 0.7,
                errors={"reset": 400} if cell.workers >= one.fails_from else {},
            )
            for name, one in servers.items()
        }
        alone = msgspec.structs.replace(plan, cells=(cell,))
        for piece in measure(alone, true, rounds=rounds, noise=0.0, drift=0.3):
            window_ns = int(piece.window_ns * np.exp(rng.normal(0.0, 0.02)))
            told = WorkerLocality(local_accepts=servers[piece.impl].local_of_100, sampled_accepts=100)
            yield msgspec.structs.replace(piece, window_ns=window_ns, worker_local=[told] * cell.workers)


def summarise(plan: Plan, servers: Mapping[str, Scales], rounds: int = 24) -> Summary:
    return compare(plan, list(slices_of(plan, servers, rounds)), {})


def of(summary: Summary, impl: str) -> Scaling:
    return next(one for one in summary.scaling if one.impl == impl)


def test_speed_up_and_efficiency_are_to_the_fewest_workers_whatever_the_drift() -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], [2, 4, 8]), {PLAIN: BENT, PERCPU: STRAIGHT})
    for impl, truth in ((PLAIN, BENT), (PERCPU, STRAIGHT)):
        found = of(summary, impl)
        assert [point.workers for point in found.points] == [2, 4, 8]
        assert found.points[0].speed_up.value == found.points[0].efficiency.value == 1.0
        for point in found.points[1:]:
            true = truth.rps(point.workers) / truth.rps(2)
            assert point.speed_up.value == pytest.approx(true, rel=0.02)
            assert point.speed_up.high is not None
            assert point.speed_up.high < 1.05 * true
            assert point.efficiency.value == pytest.approx(true * 2 / point.workers, rel=0.02)
    assert summarise(plan_for([PLAIN], [1, 2]), {PLAIN: BENT}).scaling, "two points are a run, too"
    alone = msgspec.structs.replace(plan_for([PLAIN], [1, 2]), interleaved=False)
    assert summarise(alone, {PLAIN: BENT}).scaling == ()


def test_the_law_is_fitted_to_each_and_goes_beyond_what_was_measured() -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], [1, 2, 4, 8]), {PLAIN: BENT, PERCPU: STRAIGHT})
    bent, straight = of(summary, PLAIN).law, of(summary, PERCPU).law
    assert bent is not None
    assert straight is not None
    assert bent.sigma.value == pytest.approx(0.2, rel=0.1)
    assert straight.sigma.value == pytest.approx(0.0, abs=0.01)
    assert [one.workers for one in bent.extrapolations] == [24], "8 workers were measured"
    assert bent.extrapolations[0].throughput_rps.value == pytest.approx(BENT.rps(24), rel=0.1)
    text = report.render(summary)
    assert max(map(len, text.splitlines())) <= 100
    apart = text.index("Extrapolated, not measured")
    assert "24 workers" not in text[:apart]
    assert "24 workers" in text[apart:]
    assert text.index("475,000 with Fastsocket") > apart


@pytest.mark.parametrize(
    ("workers", "server", "rounds", "why"),
    [
        ([1, 2, 4], STRAIGHT, 24, "it takes 4 numbers of workers at least, and there are 3"),
        (
            [1, 2, 3, 4],
            Scales(STRAIGHT.rps, client_is_limit_from=3),
            24,
            "all points must be server-bound, and it was client-bound with 3, client-bound with 4",
        ),
        (
            [1, 2, 3, 4],
            Scales(STRAIGHT.rps, fails_from=4),
            24,
            "all points must be server-bound, and it was failed with 4",
        ),
        ([1, 2, 3, 4], STRAIGHT, 7, "it takes 8 rounds with a rate for each point, and there are 7"),
    ],
)
def test_no_law_is_fitted_to_too_little(workers: list[int], server: Scales, rounds: int, why: str) -> None:
    summary = summarise(plan_for([PLAIN], workers), {PLAIN: server}, rounds)
    [found] = summary.scaling
    assert (found.law, found.why_no_law) == (None, why)
    text = " ".join(report.render(summary).split()).replace("- ", "-")  # a line may end behind a hyphen
    assert f"{PLAIN}: not fitted: {why}." in text
    assert "Extrapolated" not in text


def test_a_point_that_failed_has_no_figures_and_the_others_keep_theirs() -> None:
    summary = summarise(plan_for([PLAIN], [1, 2, 4]), {PLAIN: Scales(STRAIGHT.rps, fails_from=4)})
    first, second, third = of(summary, PLAIN).points
    assert first.speed_up.value == 1.0
    assert second.speed_up.value == pytest.approx(2.0, rel=0.02)
    assert third.speed_up.value is None
    assert [entry.verdict for entry in summary.cells] == [verdicts.SERVER_BOUND] * 2 + [verdicts.FAILED]
    assert f"{PLAIN} with 4 workers: failed: " in report.render(summary)


def test_where_the_client_has_no_cpu_of_its_own_the_report_says_what_efficiency_does_not_mean() -> None:
    plan = plan_for([PLAIN, PERCPU], [1, 2])
    shared = msgspec.structs.replace(plan.cells[1], generator_cpus=(1,))
    plan = msgspec.structs.replace(plan, cells=(plan.cells[0], shared))
    text = " ".join(report.render(summarise(plan, {PLAIN: BENT, PERCPU: STRAIGHT})).split())
    assert "The server is not the limit with 2 workers: there speed-up and efficiency are those of this machine" in text
    assert "CPU with 2 workers is that of the server's processes alone" in text
    assert f"{PLAIN} and {PERCPU}: not fitted: it takes 4 numbers of workers at least, and there are 2." in text
    both_alone = report.render(summarise(plan_for([PLAIN], [1, 2]), {PLAIN: BENT}))
    assert "is not the limit" not in both_alone
    assert "processes alone" not in both_alone


def test_the_table_has_a_row_for_each_point_and_one_for_each_ratio() -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], [1, 2, 4, 8]), {PLAIN: BENT, PERCPU: STRAIGHT})
    lines = report.render(summary).splitlines()
    assert lines[0] == "SHORT: requests/s against workers, 100 connections for each, 24 rounds"
    rows = [line.removeprefix(PLAIN).split() for line in lines if line.endswith("server-bound")]
    assert [row[0] for row in rows] == ["1", "2", "4", "8"] * 2
    assert [float(row[2]) for row in rows[4:]] == pytest.approx([1, 2, 4, 8], rel=0.02)
    assert [float(row[3]) for row in rows[4:]] == pytest.approx([100] * 4, rel=0.02)
    assert [line.split()[-3:] for line in lines if line.endswith("local")] == (
        [["50", "%", "local"]] * 3 + [["97", "%", "local"]] * 3
    ), "one worker has them all"
    ratios = [line.split()[-1] for line in lines if line.startswith(("1 worker ", "2 workers "))]
    assert [float(ratio) for ratio in ratios] == pytest.approx([1.0, 1.204], rel=0.02)


def test_other_workloads_have_no_published_figures_and_a_proxy_two_shares_of_what_is_local() -> None:
    text = report.render(summarise(plan_for([PLAIN], [1, 2], "keepalive"), {PLAIN: BENT}))
    assert "nginx" not in text
    plan = plan_for([PLAIN], [1, 2], "proxy")
    local = WorkerLocality(local_accepts=5, sampled_accepts=10, local_backends=3, sampled_backends=10)
    slices = [msgspec.structs.replace(piece, worker_local=[local]) for piece in slices_of(plan, {PLAIN: BENT})]
    text = report.render(compare(plan, slices, {}))
    assert text.count("50 + 30 % local") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_the_cells_have_connections_for_each_worker() -> None:
    cells = planning.points(["short", "proxy"], [1, 2, 24], 500, 20_000)
    assert cells[:3] == (Cell("short", 1, 500), Cell("short", 2, 1000), Cell("short", 24, 12_000))
    assert len(cells) == 6
    with pytest.raises(BadInput, match=r"--concurrency 500: 48 workers .* than 20,000; give 416 or less"):
        planning.points(["short"], [1, 48], 500, 20_000)


def test_groups_are_the_cells_of_a_workload() -> None:
    short, kept = plan_for([PLAIN], [1, 2]).cells, plan_for([PLAIN], [1, 2], "keepalive").cells
    plan = msgspec.structs.replace(plan_for([PLAIN], [1]), cells=(*short, *kept))
    assert plan.groups == (short, kept)
    assert msgspec.structs.replace(plan, interleaved=False).groups == tuple((cell,) for cell in plan.cells)
