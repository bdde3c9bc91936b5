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
from harness.schema import Cell, Estimate, Plan, PlannedCell, Scaling, ScalingLaw, Slice, Summary, WorkerLocality
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
    assert max(map(len, text.splitlines())) <= 120
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
            "all points must be server-bound, and it was client-bound with 3 and 4",
        ),
        (
            [1, 2, 3, 4],
            Scales(STRAIGHT.rps, fails_from=4),
            24,
            "all points must be server-bound, and it was failed with 4",
        ),
        ([1], STRAIGHT, 24, "it takes 4 numbers of workers at least, and there is 1"),
        ([1, 2, 3, 4], STRAIGHT, 7, "it takes 8 rounds with a rate for each point, and there are 7"),
    ],
)
def test_no_law_is_fitted_to_too_little(workers: list[int], server: Scales, rounds: int, why: str) -> None:
    summary = summarise(plan_for([PLAIN], workers), {PLAIN: server}, rounds)
    [found] = summary.scaling
    assert (found.law, found.why_no_law) == (None, why)
    text = " ".join(report.render(summary).split()).replace("- ", "-")  # a line may end behind a hyphen
    assert (f"{PLAIN}: not fitted: {why}." in text) == (len(workers) > 1), "one point is asked for no law"
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
    assert (
        "Where server, client or backend share CPUs (all with 2 workers), speed-up and efficiency are those of" in text
    )
    assert "CPU of all with 2 workers is that of the server's processes alone" in text
    assert f"{PLAIN} and {PERCPU}: not fitted: it takes 4 numbers of workers at least, and there are 2." in text
    both_alone = report.render(summarise(plan_for([PLAIN], [1, 2]), {PLAIN: BENT}))
    assert "speed-up and efficiency are those of" not in both_alone
    assert "processes alone" not in both_alone


def test_the_table_has_a_row_for_each_point_and_one_for_each_ratio() -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], [1, 2, 4, 8]), {PLAIN: BENT, PERCPU: STRAIGHT})
    lines = report.render(summary).splitlines()
    assert lines[0] == "SHORT: requests/s against workers, 100 connections for each, 24 rounds"
    rows = [line.removeprefix(PLAIN).split() for line in lines if line.endswith("server-bound")]
    assert [row[0] for row in rows] == ["1", "2", "4", "8"] * 2
    assert [float(row[2]) for row in rows[4:]] == pytest.approx([1, 2, 4, 8], rel=0.02)
    assert [float(row[3]) for row in rows[4:]] == pytest.approx([100] * 4, rel=0.02)
    assert [line.split()[-3:] for line in lines if line.endswith("% local")] == (
        [["50", "%", "local"]] * 3 + [["97", "%", "local"]] * 3
    ), "one worker has them all"
    [at] = [i for i, line in enumerate(lines) if line.startswith(f"{PLAIN} with as many")]
    assert lines[at - 1].split()[-8:] == ["1", "worker", "2", "workers", "4", "workers", "8", "workers"]
    ratios = [float(ratio) for ratio in lines[at + 2].removeprefix(PLAIN).replace("tie", "").split()]
    assert ratios[:2] == pytest.approx([1.0, 1.204], rel=0.02)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (verdicts.PORT_BOUND, "Where the client's host ran out of ports"),
        (verdicts.BACKLOG_DROP, "Where listening sockets dropped connections"),
        (verdicts.BACKEND_BOUND, "Where the backend was the limit"),
        (verdicts.CLIENT_BOUND, "Where the client was the limit"),
        (verdicts.NOISY, "Where figures are too noisy for a claim"),
        (verdicts.UNSATURATED, "Where no side's CPUs were all busy"),
    ],
)
def test_each_cause_is_told_as_what_it_is_and_whom_it_is_of(verdict: str, said: str) -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], [1, 2]), {PLAIN: BENT, PERCPU: STRAIGHT}, 8)
    cells = [
        msgspec.structs.replace(one, verdict=verdict, evidence="as was seen") if one.workers == 2 else one
        for one in summary.cells
    ]
    text = " ".join(report.render(msgspec.structs.replace(summary, cells=tuple(cells))).split())
    assert f"{said} (all with 2 workers), " in text
    assert f" {PLAIN} with 2 workers: {verdict}: as was seen" in text
    of_one = [one if one.impl == PLAIN else mine for one, mine in zip(cells, summary.cells, strict=True)]
    text = " ".join(report.render(msgspec.structs.replace(summary, cells=tuple(of_one))).split())
    assert f"{said} ({PLAIN} with 2 workers), " in text
    assert text.count(" Where ") == 1, "and of no other cause"
    two = [
        msgspec.structs.replace(one, verdict=verdicts.SHARED_CPUS, evidence="as is planned")
        if (one.workers, one.impl) == (2, PERCPU)
        else one
        for one in of_one
    ]
    text = " ".join(report.render(msgspec.structs.replace(summary, cells=tuple(two))).split())
    assert f"{said} ({PLAIN} with 2 workers), " in text
    assert f"Where server, client or backend share CPUs ({PERCPU} with 2 workers), " in text


def test_why_there_is_no_speed_up_is_told() -> None:
    plan = plan_for([PLAIN], [1, 2, 4])
    slices = [
        msgspec.structs.replace(piece, window_ns=0, window_requests=0)
        if piece.cell.startswith("short/w1/") and piece.round < 8
        else piece
        for piece in slices_of(plan, {PLAIN: BENT})
    ]
    text = " ".join(report.render(compare(plan, slices, {})).split())
    assert f"No speed-up ({PLAIN} with 1 worker): 8 of 24 slices are too short to tell a rate" in text
    assert f"No speed-up ({PLAIN} with 2 and 4 workers): there is no rate with 1 worker to compare with." in text
    assert "No speed-up" not in report.render(summarise(plan, {PLAIN: BENT}))


def test_cpu_per_request_has_an_interval_and_a_ratio_to_the_fewest_workers() -> None:
    plan = plan_for([PLAIN], [1, 2, 4])
    first, second, third = of(summarise(plan, {PLAIN: BENT}), PLAIN).points
    assert first.cpu_ratio == Estimate(1.0, 1.0, 1.0)
    for point in (second, third):
        true = BENT.rps(1) * point.workers / BENT.rps(point.workers)
        assert point.cpu_ratio.value == pytest.approx(true, rel=0.02)
        assert point.cpu_ratio.half_width_share is not None
        assert point.cpu_ratio.half_width_share < 0.05 < (point.cpu_us_per_request.half_width_share or 0), "by round"
    shared = msgspec.structs.replace(plan.cells[2], generator_cpus=(1,))
    plan = msgspec.structs.replace(plan, cells=(*plan.cells[:2], shared))
    *_, third = of(summarise(plan, {PLAIN: BENT}), PLAIN).points
    assert third.cpu_us_per_request.value is not None
    assert third.cpu_ratio == Estimate(), "that of processes does not compare with that of whole CPUs"


def test_what_the_law_says_is_exact_enough_and_a_peak_beyond_is_called_extrapolated() -> None:
    summary = summarise(plan_for([PLAIN], [1, 2, 4, 8]), {PLAIN: BENT})
    [found] = summary.scaling
    assert found.law is not None
    tiny = Estimate(1.234e-5, 1.2e-7, 4.5678e-5)
    law = msgspec.structs.replace(found.law, kappa=tiny, peak_workers=Estimate(6.0, 5.0, 7.0), largest_deviation=2e-4)
    text = _with_law(summary, law)
    assert "coherency kappa 0.0000123 (0.000000120\N{EN DASH}0.0000457)" in text
    assert "the most with 6 (5\N{EN DASH}7) workers; no point is off by more than 0.1 %." in text
    beyond = msgspec.structs.replace(law, peak_workers=Estimate(9.0, 7.0, 12.0))
    assert "the most with 9 (7\N{EN DASH}12) workers, extrapolated from 8;" in _with_law(summary, beyond)


def _with_law(summary: Summary, law: ScalingLaw) -> str:
    [found] = summary.scaling
    told = msgspec.structs.replace(summary, scaling=(msgspec.structs.replace(found, law=law),))
    return " ".join(report.render(told).split())


def test_many_numbers_of_workers_are_no_wider_than_a_page() -> None:
    summary = summarise(plan_for([PLAIN, PERCPU], range(1, 13)), {PLAIN: BENT, PERCPU: STRAIGHT}, 8)
    lines = report.render(summary).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum("12 workers" in line for line in lines if "as many" not in line) == 1


def test_other_workloads_have_no_published_figures_and_a_proxy_two_shares_of_what_is_local() -> None:
    text = report.render(summarise(plan_for([PLAIN], [1, 2], "keepalive"), {PLAIN: BENT}))
    assert "nginx" not in text
    plan = plan_for([PLAIN], [1, 2], "proxy")
    local = WorkerLocality(local_accepts=5, sampled_accepts=10, local_backends=3, sampled_backends=10)
    slices = [msgspec.structs.replace(piece, worker_local=[local]) for piece in slices_of(plan, {PLAIN: BENT})]
    text = report.render(compare(plan, slices, {}))
    assert text.count("50 + 30 % local") == 1
    assert max(map(len, text.splitlines())) <= 120


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
