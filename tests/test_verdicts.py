"""What a cell's figures are allowed to claim."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import verdicts
from harness.analysis.series import Series, gather
from harness.analysis.verdicts import Load, Verdict, judge
from harness.schema import NO_LOCAL_PORT, SERVER_ENDED, ClientPorts, PlannedCell, Slice, TcpCounts
from tests.simulated import Server, cell, measure, planned


def judged(where: PlannedCell, slices: list[Slice], unsteady: str = "") -> Verdict:
    series = gather(planned(["a"], where), slices)[where.key, "a", "load"]
    return judge(Load(where, series, Series({}), unsteady))


def verdict(server: Server, where: PlannedCell | None = None, rounds: int = 10) -> Verdict:
    where = where or cell()
    return judged(where, measure(planned(["a"], where), {"a": server}, rounds=rounds))


def with_each(slices: list[Slice], **fields: object) -> list[Slice]:
    return [msgspec.structs.replace(piece, **fields) for piece in slices]


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize(
    ("server_busy", "generator_busy", "expected"),
    [
        (0.97, 0.71, verdicts.SERVER_BOUND),
        (0.90, 0.89, verdicts.SERVER_BOUND),
        (0.99, 0.96, verdicts.SERVER_BOUND),
        (0.97, 0.96, verdicts.CLIENT_BOUND),
        (0.60, 0.99, verdicts.CLIENT_BOUND),
        (0.89, 0.89, verdicts.UNSATURATED),
    ],
)
def test_who_was_the_limit(server_busy: float, generator_busy: float, expected: str, *, watched: bool) -> None:
    found = verdict(Server(15_000, server_busy, generator_busy, watched=watched))
    evidence = f"server CPU 0 busy {server_busy * 100:.0f} %, client CPU 1 busy {generator_busy * 100:.0f} %"
    assert found == Verdict(expected, evidence)


@pytest.mark.parametrize("watched", [True, False])
def test_the_busiest_generator_counts(*, watched: bool) -> None:
    where = PlannedCell("short", 1, 100, server_cpus=(0,), generator_cpus=(1, 2))
    slices = measure(planned(["a"], where), {"a": Server(15_000, watched=watched)}, rounds=10)
    for piece in slices:
        piece.generator_cpu_ns[:] = [piece.wall_ns // 2, piece.wall_ns]
        piece.cpus[2:] = [msgspec.structs.replace(use, busy_ns=use.span_ns) for use in piece.cpus[2:]]
    assert judged(where, slices).name == verdicts.CLIENT_BOUND


@pytest.mark.parametrize("watched", [True, False])
def test_a_server_of_two_workers_is_bound_when_both_are(*, watched: bool) -> None:
    where = PlannedCell("short", 2, 100, server_cpus=(0, 1), generator_cpus=(2,))
    assert verdict(Server(15_000, server_busy=0.97, watched=watched), where).name == verdicts.UNSATURATED
    found = verdict(Server(15_000, server_busy=1.94, watched=watched), where)
    assert found.name == verdicts.SERVER_BOUND
    assert found.evidence.startswith("server CPUs 0-1 busy 97 % (97 to 97), client CPU 2 busy 70 %") or not watched


def test_two_sides_on_one_cpu_allow_no_claim_of_throughput() -> None:
    server = Server(15_000, generator_busy=0.5, backend_busy=0.45)
    together = verdict(server, cell("proxy", backend=[1]))
    assert together.name == verdicts.SHARED_CPUS
    assert together.evidence == (
        "client and backend share CPU 1; server CPU 0 busy 97 %, client and backend CPU 1 busy 95 %"
    )
    apart = verdict(server, cell("proxy", backend=[2]))
    assert apart.name == verdicts.SERVER_BOUND
    assert apart.evidence == "server CPU 0 busy 97 %, client CPU 1 busy 50 %, backend CPU 2 busy 45 %"


@pytest.mark.parametrize(
    ("where", "who"), [(cell(shared=True), "server and client"), (cell("proxy", backend=[0]), "server and backend")]
)
def test_a_shared_cpu_forbids_to_call_the_server_the_limit(where: PlannedCell, who: str) -> None:
    found = verdict(Server(15_000, server_busy=0.97, generator_busy=0.3), where)
    assert found.name == verdicts.SHARED_CPUS
    assert found.evidence.startswith(f"{who} share CPU 0; server")


@pytest.mark.parametrize("where", [cell("proxy", backend=[2]), cell("proxy", backend=[1])])
def test_a_backend_at_its_limit_is_named(where: PlannedCell) -> None:
    busy = Server(4_000, server_busy=0.4, generator_busy=0.1, backend_busy=0.9)
    assert verdict(busy, where).name == verdicts.BACKEND_BOUND
    # It need not be its CPU: what it does without a proxy between says it, too.
    sleepy = measure(planned(["a"], where), {"a": Server(4_000, 0.4, 0.1, 0.2)}, rounds=10, drift=0.0)
    found = judged(where, with_each(sleepy, backend_rps=4_100))
    assert found.name == verdicts.BACKEND_BOUND
    assert "the backend by itself does 4,100" in found.evidence
    assert judged(where, with_each(sleepy, backend_rps=9_000)).name != verdicts.BACKEND_BOUND


def test_a_backend_behind_a_clearly_busier_server_is_not_the_limit() -> None:
    where = cell("proxy", backend=[2])
    assert verdict(Server(4_000, 0.99, 0.5, 0.96), where).name == verdicts.SERVER_BOUND
    assert verdict(Server(4_000, 0.97, 0.5, 0.96), where).name == verdicts.BACKEND_BOUND


def test_connections_without_a_port_are_named_before_they_are_called_errors() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000, errors={NO_LOCAL_PORT: 50})}, rounds=10)
    found = judged(where, with_each(slices, ports=ClientPorts(time_wait=49, left=0)))
    assert found.name == verdicts.PORT_BOUND
    assert "500 connections found no local port" in found.evidence
    assert "at worst 0 ports left, 49 in TIME_WAIT" in found.evidence


def test_drops_by_listening_sockets_are_named() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000)}, rounds=10)
    counts = TcpCounts(segments_in=0, segments_out=0, retransmitted=0, listen_overflows=3, listen_drops=4)
    found = judged(where, with_each(slices, tcp=counts))
    assert found.name == verdicts.BACKLOG_DROP
    assert "dropped 40 connections, 30 of them because the accept queue was full" in found.evidence


@pytest.mark.parametrize("answering", [0, 8])
def test_a_server_that_answers_no_more_has_failed_whatever_its_queue_drops(answering: int) -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000)}, rounds=10)
    counts = TcpCounts(segments_in=0, segments_out=0, retransmitted=0, listen_overflows=3, listen_drops=400)
    silent = with_each(slices[answering:], tcp=counts, requests=0, errors={"timeout": 10})
    found = judged(where, slices[:answering] + silent)
    assert found.name == verdicts.FAILED
    assert found.evidence.endswith(f"correct replies and {10 * len(silent)} errors: {10 * len(silent)} timeout")


def test_other_programs_on_the_servers_cpus_are_noise() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000)}, rounds=10)
    for piece in slices:
        piece.cpus[0] = msgspec.structs.replace(piece.cpus[0], user_ns=piece.server_user_ns + 5_000_000)
    found = judged(where, slices)
    assert found.name == verdicts.NOISY
    assert found.evidence.startswith("other programs took 10 % of the server's CPU time, at least; server CPU 0")


def test_stolen_time_is_noise() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000)}, rounds=10)
    for piece in slices:
        piece.cpus[:] = [msgspec.structs.replace(use, steal_ns=use.span_ns // 10) for use in piece.cpus]
    found = judged(where, slices)
    assert found.name == verdicts.NOISY
    assert "the hypervisor gave 10 %" in found.evidence


def test_unsteady_figures_are_noise_only_where_the_server_could_be_called_the_limit() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(9_000)}, rounds=10)
    assert judged(where, slices, "it wavers") == Verdict(verdicts.NOISY, "it wavers")
    slices = measure(planned(["a"], where), {"a": Server(9_000, generator_busy=0.99)}, rounds=10)
    assert judged(where, slices, "it wavers").name == verdicts.CLIENT_BOUND


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
    assert judged(where, [*slices, last]).name == verdicts.FAILED


def test_only_errors_are_a_failure_not_noise() -> None:
    assert verdict(Server(0, errors={"timeout": 100})).name == verdicts.FAILED
    assert verdict(Server(0)).name == verdicts.NOISY


def test_one_round_is_noise() -> None:
    found = verdict(Server(15_000), rounds=1)
    assert found == Verdict(verdicts.NOISY, "1 round was measured; an interval takes at least 2")


def test_slices_without_a_rate_are_noise_when_they_are_many() -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(15_000)}, rounds=10)
    slow = measure(planned(["a"], where), {"a": Server(0)}, rounds=10)
    assert judged(where, slices[:9] + slow[9:]).name == verdicts.SERVER_BOUND
    found = judged(where, slices[:8] + slow[8:])
    assert found == Verdict(verdicts.NOISY, "2 of 10 slices are too short to tell a rate; a longer --slice helps")


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
    limited = generator_busy >= max(0.91, server_busy - 0.01)
    assert not (claimed and (shared or limited or server_busy < 0.89 or errors >= 12))
    assert found.evidence
    assert "\n" not in found.evidence


@pytest.mark.parametrize(
    ("verdict_of", "why"),
    [
        ({"a": verdicts.SERVER_BOUND, "b": verdicts.SERVER_BOUND}, ""),
        ({"a": verdicts.CLIENT_BOUND, "b": verdicts.CLIENT_BOUND}, "the client was the limit"),
        ({"a": verdicts.CLIENT_BOUND, "b": verdicts.SERVER_BOUND}, "the client was the limit for a"),
        (
            {"a": verdicts.CLIENT_BOUND, "b": verdicts.UNSATURATED, "c": verdicts.CLIENT_BOUND},
            "the client was the limit for a, c and no side's CPUs were all busy enough to be the limit for b",
        ),
    ],
)
def test_why_throughput_is_not_ranked(verdict_of: dict[str, str], why: str) -> None:
    assert verdicts.why_not_by_throughput(verdict_of) == why


def test_every_verdict_that_allows_a_claim_has_its_reason() -> None:
    names = {name for name, _ in verdicts.RULES} - verdicts.WITHOUT_CLAIM
    for name in names:
        assert bool(verdicts.why_not_by_throughput({"a": name})) == (name != verdicts.SERVER_BOUND)


@pytest.mark.parametrize(("silent", "expected"), [(1, verdicts.SERVER_BOUND), (2, verdicts.FAILED)])
def test_who_stopped_answering_has_failed_however_many_replies_came_before(silent: int, expected: str) -> None:
    where = cell()
    slices = measure(planned(["a"], where), {"a": Server(50_000)}, rounds=50)
    gone = with_each(slices[-silent:], requests=0, window_requests=0, window_ns=0, errors={"timeout": 20})
    found = judged(where, [*slices[:-silent], *gone])
    assert found.name == expected
    assert ("timeout" in found.evidence) == (expected == verdicts.FAILED)
