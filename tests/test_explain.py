"""``harness explain``: all that was observed stands there, and what was not says so."""

import re

import msgspec
import pytest

from harness.analysis.comparison import compare
from harness.errors import BadInput
from harness.report import explain
from harness.schema import ClientPorts, ContextSwitches, CpuUse, Plan, PlannedCell, Slice, TcpCounts, WorkerLocality
from tests.simulated import WALL_NS, Server, cell, measure, planned

PLAN = planned(["fast", "slow"], cell("short"), cell("proxy", backend=[1]))
SERVERS = {"fast": Server(20_000), "slow": Server(10_000, errors={"timeout": 1, "refused": 2})}


def use(cpu: int, **times_ns: int) -> CpuUse:
    nothing = CpuUse(cpu=cpu, span_ns=0, busy_ns=0, user_ns=0, system_ns=0, softirq_ns=0, idle_ns=0, steal_ns=0)
    return msgspec.structs.replace(nothing, **times_ns)


LOCAL = [
    WorkerLocality(local_accepts=3, sampled_accepts=4, local_backends=1, sampled_backends=5),
    WorkerLocality(local_accepts=0, sampled_accepts=1),
]


def observed(piece: Slice) -> Slice:
    """Add what version 2 observes: figures per slice of 1,000 requests that read well."""
    return msgspec.structs.replace(
        piece,
        requests=1000,
        block=piece.round // 2,
        server_cpu_ns=int(0.97 * WALL_NS),
        server_user_ns=10_000_000,
        server_system_ns=30_000_000,
        cpus=[
            use(
                0, user_ns=12_000_000, system_ns=30_000_000, softirq_ns=9_000_000, idle_ns=8_000_000, steal_ns=1_000_000
            ),
            use(1, user_ns=30_000_000, idle_ns=30_000_000),
        ],
        context_switches=ContextSwitches(120, 30),
        tcp=TcpCounts(segments_in=5000, segments_out=4000, retransmitted=1, listen_overflows=2, listen_drops=3),
        ports=ClientPorts(time_wait=100 * piece.round, left=28_000 - piece.round),
        rss_bytes=42 * 2**20 + piece.round,
        worker_accepted=[30, 10] if piece.round % 2 else [],
        worker_local=LOCAL if piece.round % 2 else [],
        backend_rps=30_000 + piece.round // 2,
    )


def explained(plan: Plan, slices: list[Slice], text: str = "short", impl: str | None = None) -> dict[str, str]:
    """Return each line of what is explained of one implementation, by its label."""
    found = explain.render(plan, slices, compare(plan, slices, {}), text, impl)
    assert max(map(len, found.splitlines())) <= 120
    joined = re.sub(r"\n {22}", " ", found)
    return {line[2:22].strip(): line[22:] for line in joined.splitlines() if line.startswith("  ")}


def test_all_that_was_observed_stands_there() -> None:
    slices = [observed(piece) for piece in measure(PLAN, SERVERS, rounds=4, drift=0.0)]
    lines = explained(PLAN, slices, impl="slow")
    entry = next(entry for entry in compare(PLAN, slices, {}).cells if entry.impl == "slow")
    assert lines["verdict"] == f"{entry.verdict}: {entry.evidence}"
    assert lines["measured"] == "4 rounds in 2 blocks, a slice of 50 ms in each; 4,000 correct replies"
    assert lines["errors"] == "8 refused, 4 timeout"
    assert lines["server's processes"] == "97 % of a worker's CPU, 25 % of it user, 75 % system"
    assert lines["generators"] == "70 % of CPU 1"
    assert lines["context switches"] == "0.120 voluntary and 0.030 involuntary per request"
    assert lines["TCP segments"] == (
        "5.00 in and 4.00 out per request (both sides and the backend, which loopback counts as one); 4 retransmitted"
    )
    assert lines["listen queue"] == "8 overflows, 12 drops"
    assert lines["client's ports"] == "at most 300 in TIME_WAIT, at least 27,997 left"
    assert lines["resident memory"] == "42.0 MiB at most"
    assert lines["accepted by workers"] == "0: 75 %, 1: 25 % of 80 connections"
    assert lines["local to workers"] == (
        "60 % of 10 accepted connections asked (0: 75 %, 1: 0.0 %); "
        "20 % of 10 backend connections asked (0: 20 %, 1: -)"
    )
    assert "backend" not in lines
    assert explained(PLAN, slices, "proxy", "slow")["backend"] == (
        "0.0 % of its CPUs; without a server between: 30,000 to 30,001 requests/s"
    )


def test_each_cpu_has_its_role_and_its_time() -> None:
    slices = [observed(piece) for piece in measure(PLAN, SERVERS, rounds=4)]
    text = explain.render(PLAN, slices, compare(PLAN, slices, {}), "proxy", "fast")
    rows = [line.split("  ") for line in text.splitlines() if re.match(r" +[01]  ", line)]
    assert [[field.strip() for field in row if field.strip()] for row in rows] == [
        ["0", "server", "20", "50", "15", "13", "1.7"],
        ["1", "generator, backend", "50", "0.0", "0.0", "50", "0.0"],
    ]


def test_the_rates_of_the_rounds_show_a_trend() -> None:
    slices = [
        msgspec.structs.replace(piece, window_requests=800 + 100 * piece.round, window_ns=1_000_000_000)
        for piece in measure(PLAN, SERVERS, rounds=5)
    ]
    assert explained(PLAN, slices, impl="fast")["rates of the rounds"] == (
        "least 800, 25 % below 900, median 1,000, 75 % below 1,100, most 1,200 requests/s; "
        "the second half 1.354 times the first"
    )


def test_slices_at_a_fixed_rate_are_apart() -> None:
    load = [observed(piece) for piece in measure(PLAN, SERVERS, rounds=4)]
    fixed = [
        msgspec.structs.replace(piece, phase="fixed-rate", rate_rps=5000, requests=500, server_cpu_ns=6_000_000)
        for piece in load
    ]
    lines = explained(PLAN, load + fixed, impl="fast")
    assert lines["measured"].endswith("4,000 correct replies")
    assert lines["at a fixed rate"] == (
        "4 slices at 5,000 requests/s: 12.0 µs of the processes' CPU time per request, 0 errors"
    )


def test_what_was_not_observed_says_so() -> None:
    lines = explained(PLAN, measure(PLAN, SERVERS, rounds=4), impl="fast")
    for label in ("context switches", "TCP segments", "listen queue", "client's ports", "resident memory"):
        assert lines[label] == "not observed"
    assert lines["errors"] == "none"


@pytest.mark.parametrize(
    ("grown_bytes", "told"),
    [(None, "memory not observed"), (0, "0 bytes of memory each"), (19_800, "2 bytes of memory each")],
)
def test_idle_connections_without_memory_are_not_those_that_nobody_looked_at(
    grown_bytes: int | None, told: str
) -> None:
    plan = planned(["fast", "slow"], msgspec.structs.replace(cell(), idle=9900))
    slices = [msgspec.structs.replace(piece, idle_rss_bytes=grown_bytes) for piece in measure(plan, SERVERS, rounds=4)]
    assert explained(plan, slices, impl="fast")["idle connections"] == f"9,900; {told}"


def test_without_a_slice_there_is_the_verdict() -> None:
    lines = explained(planned(["a", "b"], broken={"b": ["PROC-SIGINT"]}), [], impl="b")
    assert lines == {"verdict": "not-conformant: not measured: it broke PROC-SIGINT", "measured": "nothing"}


def test_a_cell_is_found_by_its_beginning() -> None:
    plan = planned(["a"], *(PlannedCell("short", 1, n) for n in (10, 100)), cell("proxy"))
    assert explain.find_cell(plan, "short/w1/c10").concurrency == 10
    assert explain.find_cell(plan, "proxy").key == explain.find_cell(plan, "proxy/w1/").key == "proxy/w1/c100"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short: several cells begin so; choose from short/w1/c10, short/w1/c100"),
        ("short/w1/c1", "c1: no such cell in this run; choose from short/w1/c10, short/w1/c100, proxy/w1/c100"),
        ("", ": no such cell in this run"),
    ],
)
def test_an_unknown_cell_is_refused_with_those_there_are(text: str, expected: str) -> None:
    plan = planned(["a"], *(PlannedCell("short", 1, n) for n in (10, 100)), cell("proxy"))
    with pytest.raises(BadInput) as caught:
        explain.find_cell(plan, text)
    assert expected in str(caught.value)


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(BadInput, match="--impl nosuch: did not take part; these did: fast, slow"):
        explained(PLAN, [], impl="nosuch")
