"""From slices of servers whose figures are known to what the summary says of them."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import verdicts
from harness.analysis.comparison import compare
from harness.schema import CellSummary, CpuUsPerRequest, Estimate, LatencyUs, Plan, Slice, Summary
from tests.simulated import WALL_NS, Server, cell, latencies, measure, planned

BOTH = {"fast": Server(15_000), "slow": Server(12_000)}
PLAN = planned(["fast", "slow"])
PROXY = "proxy/w1/c100"


def summarise(plan: Plan, slices: list[Slice]) -> Summary:
    return compare(plan, slices, latencies(plan, {impl.name: 5_000 for impl in plan.implementations}))


def entry(summary: Summary, impl: str) -> CellSummary:
    return next(one for one in summary.cells if one.impl == impl)


def test_finds_the_ratio_whatever_the_drift() -> None:
    slow = entry(summarise(PLAN, measure(PLAN, BOTH, drift=0.5)), "slow")
    assert slow.ratio.holds(0.8)
    assert not slow.ratio.holds(1.0)
    assert slow.ratio.value == pytest.approx(0.8, rel=0.03)
    assert slow.ratio.low == pytest.approx(0.8, rel=0.05)


def test_a_cell_is_about_those_that_take_part_in_it() -> None:
    plan = planned(["fast", "slow"], cell(), cell("proxy", backend=[2]))
    fast, slow = plan.implementations
    plan = msgspec.structs.replace(
        plan, implementations=(msgspec.structs.replace(fast, workloads=("short",)), slow), precision=0.5
    )
    found = summarise(plan, [piece for piece in measure(plan, BOTH) if (piece.impl, piece.cell) != ("fast", PROXY)])
    assert [(one.workload, one.impl) for one in found.cells] == [
        ("short", "fast"),
        ("short", "slow"),
        ("proxy", "slow"),
    ]
    assert [len(ranking.standings) for ranking in found.rankings] == [2, 1]
    assert found.cells[-1].throughput_rps.value
    assert found.cells[-1].ratio.value is None, "the reference takes no part in it"
    assert found.precision_missed == (), "where there is no ratio, requests/s are to be precise"


def test_a_difference_below_the_noise_is_a_tie() -> None:
    same = {"fast": Server(15_000), "slow": Server(14_990)}
    found = summarise(PLAN, measure(PLAN, same))
    assert entry(found, "slow").ratio.holds(1.0)
    assert [standing.rank for standing in found.rankings[0].standings] == [1, 1]


def test_throughput_is_the_mean_of_the_slices() -> None:
    slices = measure(PLAN, BOTH, drift=0.3)
    rates = [piece.window_requests / piece.window_ns * 1e9 for piece in slices if piece.impl == "fast"]
    found = entry(summarise(PLAN, slices), "fast")
    assert found.throughput_rps.value == pytest.approx(np.mean(rates))
    assert found.throughput_rps.holds(float(np.mean(rates)))
    assert found.rounds == 50
    assert found.requests == sum(piece.requests for piece in slices if piece.impl == "fast")


def test_cpu_per_request_is_exact_and_split_by_the_ticks() -> None:
    slices = measure(PLAN, BOTH)
    found = entry(summarise(PLAN, slices), "slow")
    requests = sum(piece.requests for piece in slices if piece.impl == "slow")
    cpu = found.cpu_us_per_request
    assert cpu.total is not None
    assert cpu.total == pytest.approx(50 * 0.97 * WALL_NS / requests / 1000, rel=1e-6)
    assert (cpu.user, cpu.system, cpu.softirq) == pytest.approx((0.25 * cpu.total, 0.25 * cpu.total, 0.5 * cpu.total))
    assert found.cpu_ratio.value == pytest.approx(15_000 / 12_000, rel=0.03)
    assert found.cpu_ratio.holds(1.25)


def test_without_ticks_the_split_is_unknown() -> None:
    unknown = {"server_user_ns": 0, "server_system_ns": 0, "cpus": []}
    slices = [msgspec.structs.replace(one, **unknown) for one in measure(PLAN, BOTH)]
    cpu = entry(summarise(PLAN, slices), "fast").cpu_us_per_request
    assert (cpu.user, cpu.system) == (None, None)
    assert cpu.total is not None


def test_the_same_run_always_gives_the_same_summary() -> None:
    slices = measure(PLAN, BOTH)
    stored = msgspec.json.decode(msgspec.json.encode(slices), type=list[Slice])
    shuffled = [stored[i] for i in np.random.default_rng(1).permutation(len(stored))]
    assert summarise(PLAN, slices) == summarise(PLAN, shuffled)


def test_a_round_that_only_one_has_counts_for_no_ratio() -> None:
    slices = measure(PLAN, BOTH, noise=0.0)
    odd = {"round": 999, "window_requests": 100_000}
    lonely = msgspec.structs.replace(next(one for one in slices if one.impl == "slow"), **odd)
    found = entry(summarise(PLAN, [*slices, lonely]), "slow")
    assert found.rounds == 51
    assert found.ratio == entry(summarise(PLAN, slices), "slow").ratio


def test_what_is_not_conformant_gets_no_number() -> None:
    plan = planned(["fast", "slow"], broken={"slow": ["relay.large"]})
    summary = summarise(plan, measure(plan, BOTH))
    found = entry(summary, "slow")
    assert (found.conformant, found.rounds, found.requests, found.verdict) == (False, 0, 0, verdicts.NOT_CONFORMANT)
    assert "relay.large" in found.evidence
    assert_no_figures(found)
    assert [standing.impl for standing in summary.rankings[0].standings] == ["fast"]


def test_without_its_reference_a_run_has_no_ratios() -> None:
    plan = planned(["fast", "slow"], broken={"fast": ["relay.large"]})
    found = entry(summarise(plan, measure(plan, BOTH)), "slow")
    assert found.throughput_rps.value is not None
    assert (found.ratio, found.cpu_ratio) == (Estimate(), Estimate())


def test_a_run_that_was_stopped_at_once_has_an_entry_for_everything() -> None:
    plan = planned(["fast", "slow"], cell("short"), cell("keepalive"))
    summary = compare(plan, measure(plan, BOTH, rounds=1), {}, interrupted=True)
    assert summary.interrupted
    assert [(one.workload, one.impl) for one in summary.cells] == [
        ("short", "fast"),
        ("short", "slow"),
        ("keepalive", "fast"),
        ("keepalive", "slow"),
    ]
    for one in summary.cells:
        assert one.verdict == verdicts.NOISY
        assert one.conformant
        assert_no_figures(one)


def test_slices_too_short_to_tell_a_rate_still_tell_cpu_and_latency() -> None:
    slices = measure(PLAN, BOTH)
    for piece in slices:
        if piece.impl == "slow" and piece.round % 2:
            msgspec.structs.force_setattr(piece, "window_requests", 0)
    found = entry(summarise(PLAN, slices), "slow")
    assert found.verdict == verdicts.NOISY
    assert (found.throughput_rps, found.ratio) == (Estimate(), Estimate())
    assert found.cpu_us_per_request.total is not None
    assert found.latency_us.p50 is not None


def assert_no_figures(found: CellSummary) -> None:
    assert (found.throughput_rps, found.ratio, found.cpu_ratio) == (Estimate(), Estimate(), Estimate())
    assert (found.latency_us, found.cpu_us_per_request) == (LatencyUs(), CpuUsPerRequest())


def test_ranks_by_throughput_only_where_every_server_was_the_limit() -> None:
    ranking = summarise(PLAN, measure(PLAN, BOTH)).rankings[0]
    assert (ranking.by, ranking.reason) == ("throughput", "")
    client_bound = {"fast": Server(15_000, server_busy=0.5, generator_busy=0.98), "slow": Server(12_000)}
    ranking = summarise(PLAN, measure(PLAN, client_bound)).rankings[0]
    assert (ranking.by, ranking.reason) == ("cpu", "the client was the limit for fast")


def test_by_cpu_the_cheapest_is_first_though_it_answers_less() -> None:
    servers = {
        "fast": Server(15_000, server_busy=0.88, generator_busy=0.98),
        "slow": Server(14_000, server_busy=0.6, generator_busy=0.98),
    }
    first, second = summarise(PLAN, measure(PLAN, servers)).rankings[0].standings
    assert (first.impl, first.rank, first.ratio_to_first) == ("slow", 1, Estimate(1.0, 1.0, 1.0))
    assert (second.impl, second.rank) == ("fast", 2)
    assert second.ratio_to_first.holds(0.88 / 15_000 * 14_000 / 0.6)


def test_a_rank_counts_only_those_that_are_shown_to_be_better() -> None:
    plan = planned(["a", "b", "c", "d"])
    servers = {"a": Server(9_000), "b": Server(15_000), "c": Server(15_010), "d": Server(12_000)}
    standings = summarise(plan, measure(plan, servers)).rankings[0].standings
    assert {standing.impl: standing.rank for standing in standings} == {"b": 1, "c": 1, "d": 3, "a": 4}


def test_what_failed_is_not_ranked() -> None:
    servers = {"fast": Server(15_000, errors={"reset": 100}), "slow": Server(12_000)}
    summary = summarise(PLAN, measure(PLAN, servers))
    found = entry(summary, "fast")
    assert (found.verdict, found.errors, found.errors_by_kind) == (verdicts.FAILED, 5000, {"reset": 5000})
    assert [standing.impl for standing in summary.rankings[0].standings] == ["slow"]
    assert entry(summary, "slow").ratio == Estimate()


def test_latencies_come_from_the_histograms() -> None:
    found = entry(compare(PLAN, measure(PLAN, BOTH), latencies(PLAN, {"fast": 5_000.0})), "fast").latency_us
    assert found.p50 == pytest.approx(5_000, rel=0.05)
    figures = [found.p50, found.p90, found.p99, found.p99_9, found.max]
    assert figures == sorted(figures, key=lambda figure: figure or 0.0)
    assert entry(compare(PLAN, measure(PLAN, BOTH), {}), "fast").latency_us == LatencyUs()


def test_the_summary_has_the_documented_shape() -> None:
    plan = planned(["fast", "slow", "broken"], broken={"broken": ["x"]})
    decoded = json.loads(msgspec.json.encode(summarise(plan, measure(plan, BOTH))))
    assert decoded["schema"] == 2
    assert decoded["reference"] == "fast"
    assert len(decoded["cells"]) == 3
    interval = {"value", "low", "high"}
    for one in decoded["cells"]:
        documented = {"impl", "workload", "workers", "concurrency", "conformant", "rounds", "requests", "errors"}
        documented |= {"throughput_rps", "ratio", "latency_us", "cpu_us_per_request", "verdict", "evidence"}
        documented |= {"segments_per_request", "rss_bytes", "worker_balance", "at_fixed_rate"}
        documented |= {"local_accept_share", "sampled_accepts", "local_backend_share", "sampled_backends"}
        assert documented <= one.keys()
        assert one["throughput_rps"].keys() == one["ratio"].keys() == interval
        assert one["latency_us"].keys() == {"p50", "p90", "p99", "p99_9", "max"}
        assert one["cpu_us_per_request"].keys() == {"user", "system", "softirq", "total"}
        assert one["segments_per_request"].keys() == {"in", "out"}
        assert one["worker_balance"].keys() == {"min_share", "max_share"}
        assert isinstance(one["errors"], int)
    assert decoded["cells"][0]["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_same_server_twice_is_told_apart_no_more_often_than_one_in_twenty() -> None:
    same = {"fast": Server(15_000), "slow": Server(15_000)}
    runs = 120
    held = sum(
        entry(compare(PLAN, measure(PLAN, same, rounds=20, seed=seed), {}), "slow").ratio.holds(1.0)
        for seed in range(runs)
    )
    assert 0.90 <= held / runs <= 0.99


@given(
    figures=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["fast", "slow"]), *[st.integers(0, 10**6)] * 4), max_size=30
    )
)
@settings(max_examples=60)
def test_any_slices_give_a_summary_without_a_false_interval(
    figures: list[tuple[int, str, int, int, int, int]],
) -> None:
    slices = [
        Slice(
            cell=cell().key,
            impl=impl,
            round=number,
            position=0,
            slice_s=0.05,
            wall_ns=wall_ns,
            requests=requests,
            window_requests=min(requests, counted),
            window_ns=1 + wall_ns // 2,
            server_cpu_ns=cpu_ns,
        )
        for number, impl, wall_ns, requests, counted, cpu_ns in figures
    ]
    summary = compare(PLAN, slices, {})
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary
    for one in summary.cells:
        for estimate in (one.throughput_rps, one.ratio, one.cpu_ratio):
            assert estimate == Estimate() or estimate.holds(estimate.value or 0.0)
