"""What a cell's figures are allowed to claim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import verdicts
from harness.analysis.series import gather
from harness.analysis.verdicts import Load, Verdict, judge
from harness.schema import SERVER_ENDED, PlannedCell
from tests.simulated import Server, cell, measure, planned


def verdict(server: Server, where: PlannedCell | None = None, rounds: int = 10) -> Verdict:
    where = where or cell()
    slices = measure(planned(["a"], where), {"a": server}, rounds=rounds)
    return judge(Load(where, gather(slices)[where.key, "a"]))


@pytest.mark.parametrize(
    ("server_busy", "generator_busy", "expected"),
    [
        (0.97, 0.71, verdicts.SERVER_BOUND),
        (0.90, 0.89, verdicts.SERVER_BOUND),
        (0.97, 0.91, verdicts.CLIENT_BOUND),
        (0.60, 0.99, verdicts.CLIENT_BOUND),
        (0.89, 0.89, verdicts.UNSATURATED),
    ],
)
def test_who_was_the_limit(server_busy: float, generator_busy: float, expected: str) -> None:
    found = verdict(Server(15_000, server_busy, generator_busy))
    assert found == Verdict(expected, f"server {server_busy * 100:.0f} % busy, generator {generator_busy * 100:.0f} %")


def test_the_busiest_generator_counts() -> None:
    where = PlannedCell("short", 1, 100, server_cpus=(0,), generator_cpus=(1, 2))
    slices = measure(planned(["a"], where), {"a": Server(15_000)}, rounds=10)
    for piece in slices:
        piece.generator_cpu_ns[:] = [piece.wall_ns // 2, piece.wall_ns]
    assert judge(Load(where, gather(slices)[where.key, "a"])).name == verdicts.CLIENT_BOUND


def test_a_server_of_two_workers_is_bound_when_both_are() -> None:
    where = PlannedCell("short", 2, 100, server_cpus=(0, 1), generator_cpus=(2,))
    assert verdict(Server(15_000, server_busy=0.97), where).name == verdicts.UNSATURATED
    assert verdict(Server(15_000, server_busy=1.94), where).name == verdicts.SERVER_BOUND


def test_generator_and_backend_on_one_cpu_are_added() -> None:
    server = Server(15_000, generator_busy=0.5, backend_busy=0.45)
    together = verdict(server, cell("proxy", backend=[1]))
    assert together == Verdict(verdicts.CLIENT_BOUND, "server 97 % busy, generator and backend together 95 %")
    apart = verdict(server, cell("proxy", backend=[2]))
    assert apart == Verdict(verdicts.SERVER_BOUND, "server 97 % busy, generator 50 %, backend 45 %")


@pytest.mark.parametrize("where", [cell(shared=True), cell("proxy", backend=[0])])
def test_a_shared_cpu_forbids_to_call_the_server_the_limit(where: PlannedCell) -> None:
    found = verdict(Server(15_000, server_busy=0.97, generator_busy=0.3), where)
    assert found.name == verdicts.SHARED_CPUS
    assert found.evidence.startswith("server and client share CPU 0; server 97 % busy")


def test_errors_above_one_per_cent_are_a_failure() -> None:
    few, many = Server(15_000, errors={"reset": 1}), Server(15_000, errors={"reset": 3, "timeout": 20})
    assert verdict(few).name == verdicts.SERVER_BOUND
    found = verdict(many)
    assert found.name == verdicts.FAILED
    assert found.evidence.endswith("230 errors: 200 timeout, 30 reset")


def test_a_server_that_ended_has_failed_however_much_it_served() -> None:
    where = cell()
    *slices, last = measure(planned(["a"], where), {"a": Server(15_000)}, rounds=10)
    last.errors[SERVER_ENDED] = 1
    assert judge(Load(where, gather([*slices, last])[where.key, "a"])).name == verdicts.FAILED


def test_only_errors_are_a_failure_not_a_lack_of_data() -> None:
    assert verdict(Server(0, errors={"timeout": 100})).name == verdicts.FAILED
    assert verdict(Server(0)).name == verdicts.NO_DATA


def test_one_round_is_no_data() -> None:
    found = verdict(Server(15_000), rounds=1)
    assert found == Verdict(verdicts.NO_DATA, "1 round was measured; an interval takes at least 2")


def test_slices_without_a_rate_are_no_data_when_they_are_many() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(15_000)}, rounds=10)
    slow = measure(planned(["a"], where), {"a": Server(0)}, rounds=10)
    assert judge(Load(where, gather(slices[:9] + slow[9:])[where.key, "a"])).name == verdicts.SERVER_BOUND
    found = judge(Load(where, gather(slices[:8] + slow[8:])[where.key, "a"]))
    assert found == Verdict(verdicts.NO_DATA, "2 of 10 slices are too short to tell a rate; a longer --slice helps")


def test_a_broken_contract_names_the_obligations() -> None:
    assert verdicts.not_conformant(["relay.large", "pin"]).evidence == "not measured: it broke relay.large, pin"


BUSY = st.floats(min_value=0.0, max_value=1.0)


@given(server_busy=BUSY, generator_busy=BUSY, errors=st.integers(min_value=0, max_value=20), shared=st.booleans())
def test_server_bound_is_never_claimed_beside_doubt(
    server_busy: float, generator_busy: float, errors: int, *, shared: bool
) -> None:
    found = verdict(
        Server(15_000, server_busy, generator_busy, errors={"reset": errors}), cell(shared=shared), rounds=3
    )
    claimed = found.name == verdicts.SERVER_BOUND
    assert not (claimed and (shared or generator_busy >= 0.91 or server_busy < 0.89 or errors >= 12))
    assert found.evidence
    assert "\n" not in found.evidence


@pytest.mark.parametrize(
    ("verdict_of", "why"),
    [
        ({"a": verdicts.SERVER_BOUND, "b": verdicts.SERVER_BOUND}, ""),
        ({"a": verdicts.CLIENT_BOUND, "b": verdicts.CLIENT_BOUND}, "the generator was the limit"),
        ({"a": verdicts.CLIENT_BOUND, "b": verdicts.SERVER_BOUND}, "the generator was the limit for a"),
        (
            {"a": verdicts.CLIENT_BOUND, "b": verdicts.UNSATURATED, "c": verdicts.CLIENT_BOUND},
            "the generator was the limit for a, c and no side's CPU was busy enough to be the limit for b",
        ),
    ],
)
def test_why_throughput_is_not_ranked(verdict_of: dict[str, str], why: str) -> None:
    assert verdicts.why_not_by_throughput(verdict_of) == why


def test_every_verdict_that_allows_a_claim_has_its_reason() -> None:
    names = {name for name, _ in verdicts.RULES} - verdicts.WITHOUT_CLAIM
    for name in names:
        assert bool(verdicts.why_not_by_throughput({"a": name})) == (name != verdicts.SERVER_BOUND)
