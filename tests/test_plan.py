"""From what the user asks for to a plan, and what cannot be planned."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import plan
from harness.errors import BadInput
from harness.registry import Implementation, peer
from harness.report import plan as plan_report
from harness.schema import Cell, Plan, PlannedCell, PlannedImplementation, TestbedName
from tests.simulated import cell

A, B = (PlannedImplementation(name=name, argv=(name,)) for name in "ab")


def make(*cells: PlannedCell, **options: Any) -> Plan:
    options = {"reference": "a", "budget_s": 60.0, "slice_s": 0.05, "seed": 1, **options}
    return plan.make([A, B], cells or [cell()], **options)


def test_axes_are_multiplied_workload_by_workload() -> None:
    cells = plan.expand(["short", "proxy"], [1, 2], [10], [None, 500])
    assert [each.key for each in cells[:4]] == [
        "short/w1/c10",
        "short/w1/c10/r500",
        "short/w2/c10",
        "short/w2/c10/r500",
    ]
    assert cells[4] == Cell("proxy", 1, 10)
    assert len(cells) == 8
    idle = plan.expand(["short"], [1], [10], [None, 500], [0, 9900])
    assert [each.key for each in idle] == [
        "short/w1/c10",
        "short/w1/c10/idle9900",
        "short/w1/c10/r500",
        "short/w1/c10/idle9900/r500",
    ]


def test_a_cell_with_idle_connections_takes_the_time_for_slices_without_them() -> None:
    idle = PlannedCell("short", 1, 100, None, 9900, server_cpus=(0,), generator_cpus=(1,))
    plain, both = make(cell()), make(cell(), idle)
    assert plan.schedule(plain, idle, 30.0, 2, 0.05, 77).rounds == 120
    assert plan.schedule(plain, cell(), 30.0, 2, 0.05, 77).rounds == 199
    assert both.rounds == 150
    with pytest.raises(BadInput, match="and as much without idle connections"):
        make(idle, budget_s=1.0)


@given(
    share_s=st.floats(0.0, 60.0),
    implementations=st.integers(1, 8),
    slice_s=st.floats(0.05, 2.0),
    blocks=st.integers(1, 40),
    precision=st.sampled_from([None, 0.02]),
)
@settings(max_examples=50)
def test_a_schedule_fills_its_share_and_has_rounds_enough(
    share_s: float, implementations: int, slice_s: float, blocks: int, precision: float | None
) -> None:
    found = plan.schedule(make(blocks=blocks, precision=precision), cell(), share_s, implementations, slice_s, 77)
    assert found.rounds >= plan.FEWEST_ROUNDS
    load_s = found.rounds * implementations * slice_s * 1.5
    assert load_s <= share_s or found.rounds == plan.FEWEST_ROUNDS
    assert load_s + implementations * slice_s * 1.5 > share_s * 0.999
    each = [found.block_of(number) for number in range(found.rounds)]
    assert each == sorted(each)
    sizes = Counter(each).values()
    assert len(sizes) == found.blocks
    assert plan.FEWEST_ROUNDS_PER_BLOCK <= min(sizes) <= max(sizes) <= min(sizes) + 1
    assert found.blocks <= blocks or precision is not None
    assert (found.slice_s, found.fixed_rate_rps) == (slice_s, 77)


def test_blocks_of_a_run_until_it_is_precise_do_not_grow_with_the_time_that_it_may_take() -> None:
    def rounds_per_block(budget_s: float, precision: float | None) -> float:
        found = plan.schedule(make(precision=precision), cell(), budget_s, 2, 0.05, None)
        return found.rounds / found.blocks

    assert rounds_per_block(60, None) > 60
    assert rounds_per_block(60, 0.02) == pytest.approx(plan.ROUNDS_PER_BLOCK, rel=0.1)
    assert rounds_per_block(6000, 0.02) == pytest.approx(plan.ROUNDS_PER_BLOCK, rel=0.1)


def test_every_second_round_has_slices_at_a_fixed_rate() -> None:
    assert [plan.has_fixed_rate(number) for number in range(4)] == [True, False, True, False]


def test_a_plan_has_what_was_asked_for() -> None:
    made = make(blocks=3, precision=0.02, client="wrk", slice_s=1.0, testbed="netns", testbed_notes=["so"])
    assert (made.blocks, made.precision, made.client, made.testbed) == (3, 0.02, "wrk", "netns")
    assert made.testbed_notes == ("so",)
    assert not made.conformance_checked
    assert make(slice_s=0.25).rounds == 60 / (2 * 0.25 * 1.5)
    assert make(cell(), cell("proxy"), slice_s=0.25).rounds == 30 / (2 * 0.25 * 1.5)


@pytest.mark.parametrize("client", ["ab", "wrk"])
def test_what_has_no_open_loop_gets_no_rate(client: str) -> None:
    with_rate = PlannedCell("short", 1, 100, 5, server_cpus=(0,), generator_cpus=(1,))
    assert make(with_rate).cells == (with_rate,)
    with pytest.raises(BadInput, match=f"--client {client}: it has no open loop; leave --rate out, or take .*builtin"):
        make(with_rate, client=client)


def test_a_budget_that_holds_too_few_rounds_is_refused_with_the_least() -> None:
    said = r"--budget 1s: 1 cell x 2 implementations x 6 rounds of 0.5s, .*, take 9s; give that much, or less"
    with pytest.raises(BadInput, match=said):
        make(slice_s=0.5, budget_s=1.0)
    assert make(slice_s=0.5, budget_s=9.0).rounds == plan.FEWEST_ROUNDS


def test_a_reference_is_epoll_raw_or_the_first_or_the_one_asked_for() -> None:
    assert plan.choose_reference(["x", "epoll_raw"], None) == "epoll_raw"
    assert plan.choose_reference(["x", "y"], None) == "x"
    assert plan.choose_reference(["x", "y"], "y") == "y"
    with pytest.raises(BadInput, match="--reference z: does not take part; name one of x, y"):
        plan.choose_reference(["x", "y"], "z")


def test_a_cell_needs_one_that_takes_part_in_it_and_each_needs_a_cell() -> None:
    ours, relay = Implementation("ours", ("x",), None, external=True), peer("haproxy")
    short, proxy = plan.expand(["short", "proxy"], [1], [100])
    assert plan.with_takers([short, proxy], [ours, relay]) == [short, proxy]
    assert plan.with_takers([short, proxy], [relay]) == [proxy]
    with pytest.raises(BadInput, match=r"^haproxy: takes no part in short; leave it out, or give --workloads proxy$"):
        plan.with_takers([short], [ours, relay])


def test_a_peer_takes_no_part_as_a_proxy_with_idle_connections_and_the_plan_says_so() -> None:
    ours, relay = Implementation("ours", ("x",), None, external=True), peer("haproxy")
    plain, with_idle = plan.expand(["proxy"], [1], [100], idle=[0, 9900])
    assert plan.with_takers([plain, with_idle], [ours, relay]) == [plain, with_idle]
    assert plan.with_takers([plain, with_idle], [relay]) == [plain]
    with pytest.raises(BadInput, match=r"^haproxy: takes no part in proxy with idle connections; leave it out, or "):
        plan.with_takers([with_idle], [ours, relay])
    contestants = [
        PlannedImplementation(name=one.name, argv=one.argv, workloads=one.workloads, obligations=one.obligations)
        for one in (ours, relay)
    ]
    idle = msgspec.structs.replace(cell("proxy", backend=[1]), idle=9900)
    made = plan.make(contestants, [idle], reference="ours", budget_s=60.0, slice_s=0.05, seed=1)
    assert [one.name for one in made.taking_part(made.cells[0])] == ["ours"]
    assert "  haproxy takes no part in proxy with idle connections.\n" in plan_report.render(made)


@pytest.mark.parametrize("testbed", ["loopback", "netns"])
def test_a_run_for_scaling_on_loopback_says_what_is_not_steered(testbed: TestbedName) -> None:
    told = "On loopback nothing steers packets"
    assert (told in plan_report.render(make(interleaved=True, testbed=testbed))) == (testbed == "loopback")
    assert told not in plan_report.render(make(testbed=testbed))
