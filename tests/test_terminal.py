"""The report for people: it fits, it is aligned, and it says no more than the summary does."""

import re

import msgspec
import pytest

from harness.analysis.comparison import compare
from harness.report import plan as plan_report
from harness.report import tables, terminal
from harness.schema import Plan, PlannedCell, Summary, TcpCounts, WorkerLocality
from tests.simulated import Server, cell, latencies, measure, planned

NAMES = ("epoll_raw", "uvloop", "gevent", "trio")
SERVERS = dict(zip(NAMES, map(Server, (100_000, 99_990, 60_000, 25_000)), strict=True))


def report(plan: Plan, servers: dict[str, Server], *, interrupted: bool = False) -> str:
    medians = {name: 1e8 / server.rate_rps for name, server in servers.items() if server.rate_rps}
    return terminal.render(compare(plan, measure(plan, servers), latencies(plan, medians), interrupted=interrupted))


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line[2:].startswith(name))


def test_one_table_for_each_cell_with_every_implementation() -> None:
    plan = planned(NAMES, cell("short"), cell("keepalive"))
    text = report(plan, SERVERS)
    assert [line for line in text.splitlines() if ": 1 worker, 100 connections" in line] == [
        "SHORT: 1 worker, 100 connections, 50 rounds; ranked by requests/s",
        "KEEPALIVE: 1 worker, 100 connections, 50 rounds; ranked by requests/s",
    ]
    for name in NAMES:
        assert (
            sum(bool(re.match(f"(. )?{name} |  {name} ", line)) for line in text.splitlines()) == 6
        )  # two rows, and evidence, in each


def test_a_row_shows_figures_with_their_intervals() -> None:
    plan = planned(NAMES)
    text = report(plan, SERVERS)
    entry = compare(plan, measure(plan, SERVERS), {}).cells[2]
    first = row(text, "gevent")
    second = text.splitlines()[text.splitlines().index(first) + 1]
    assert first.startswith("3 gevent")
    assert f" {entry.throughput_rps.value:,.0f} " in first
    assert f" {entry.ratio.value:.3f} " in first
    assert f" {entry.throughput_rps.low:,.0f}–{entry.throughput_rps.high:,.0f} " in second  # noqa: RUF001  an en dash
    assert f" {entry.ratio.low:.3f}–{entry.ratio.high:.3f}" in second  # noqa: RUF001  an en dash
    assert first.endswith("server-bound")


def test_what_a_request_costs_has_a_table_of_its_own() -> None:
    plan = planned(NAMES)
    slices = [
        msgspec.structs.replace(
            piece,
            rss_bytes=34_000_000,
            tcp=TcpCounts(
                segments_in=5 * piece.requests,
                segments_out=4 * piece.requests,
                retransmitted=0,
                listen_overflows=0,
                listen_drops=0,
            ),
        )
        for piece in measure(plan, SERVERS)
    ]
    fixed = [msgspec.structs.replace(piece, phase="fixed-rate", rate_rps=12_000) for piece in slices if piece.round % 2]
    summary = compare(msgspec.structs.replace(plan, testbed="netns"), [*slices, *fixed], {})
    entry, text = summary.cells[2], terminal.render(summary)
    first, second = text.splitlines()[(at := costs_row(text, "gevent")) : at + 2]
    cpu, fixed_rate = entry.cpu_us_per_request, entry.at_fixed_rate
    assert f" {cpu.user:.1f} + {cpu.system:.1f} + {cpu.softirq:.1f}" in second
    assert f" {fixed_rate.cpu_us_per_request.value:.1f} " in first
    assert f" {fixed_rate.cpu_ratio.value:.3f} " in first
    assert "at 12,000/s" in text
    assert first.split()[-5:] == ["5.00", "+", "4.00", "34", "-"]
    on_loopback = terminal.render(compare(plan, [*slices, *fixed], {}))
    assert "5.00 + 4.00" not in on_loopback


def test_idle_connections_are_told_with_what_they_cost() -> None:
    plan = planned(NAMES[:2], msgspec.structs.replace(cell("keepalive"), idle=9900))
    slices = [
        msgspec.structs.replace(piece, block=piece.round % 2, idle_rss_bytes=9900 * 100 * (5 + 2 * (piece.round % 2)))
        for piece in measure(plan, {name: SERVERS[name] for name in NAMES[:2]})
    ]
    faster = {"epoll_raw": 1.0, "uvloop": 1.25}
    without = [
        msgspec.structs.replace(
            piece, phase="without-idle", window_requests=round(piece.window_requests * faster[piece.impl])
        )
        for piece in slices
    ]
    text = terminal.render(compare(plan, [*slices, *without], {}))
    assert "KEEPALIVE: 1 worker, 100 connections, 9,900 idle ones, 50 rounds; ranked by requests/s" in text
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("with idle"))
    rows = [line.split() for line in lines[at + 3 : at + 7]]
    assert rows[0][:4] == ["epoll_raw", "0.60", "tie", "1.000"]
    assert rows[2][:3] == ["uvloop", "0.60", "0.800"]
    assert (
        "on keepalive, against itself without the 9,900 idle connections, epoll_raw serves 100 % (100 to 100 %) of the "
        "requests/s and uvloop 80 % (80 to 80 %)" in " ".join(text.split())
    )
    assert max(map(len, lines)) <= 120


def test_where_the_server_was_not_the_limit_idle_connections_are_told_by_cpu() -> None:
    idle = msgspec.structs.replace(cell(), idle=9900)
    plan = planned(["a"], idle)
    busy = {"a": Server(10_000, generator_busy=0.99, server_busy=0.7)}
    slices = measure(plan, busy)
    dearer = [msgspec.structs.replace(piece, phase="without-idle", requests=2 * piece.requests) for piece in slices]
    summary = compare(plan, [*slices, *dearer], {})
    assert summary.cells[0].with_idle.throughput_ratio.value is None
    assert "a needs 200 % (200 to 200 %) of the CPU per request" in " ".join(terminal.render(summary).split())


def test_beside_the_balance_of_workers_stands_how_many_of_their_connections_are_local() -> None:
    two = msgspec.structs.replace(cell(), workers=2, server_cpus=(0, 1))
    plan = planned(["one", "other", "silent"], two)
    told = {
        "one": [
            WorkerLocality(local_accepts=96, sampled_accepts=100),
            WorkerLocality(local_accepts=1, sampled_accepts=1),
        ],
        "other": [
            WorkerLocality(local_accepts=1, sampled_accepts=2, local_backends=1, sampled_backends=4),
            WorkerLocality(),
        ],
        "silent": [],
    }
    slices = [
        msgspec.structs.replace(piece, worker_accepted=[30, 10], worker_local=told[piece.impl])
        for piece in measure(plan, dict.fromkeys(told, Server(10_000)))
    ]
    summary = compare(plan, slices, {})
    assert [(one.local_accept_share, one.local_backend_share) for one in summary.cells] == [
        (97 / 101, None),
        (0.5, 0.25),
        (None, None),
    ]
    lines = terminal.render(summary).splitlines()
    for name, local in (("one", "96 % local"), ("other", "50 + 25 % local"), ("silent", "")):
        at = costs_row("\n".join(lines), name)
        assert lines[at].endswith("25 to 75 %")
        assert lines[at + 1].endswith(local)
        assert ("local" in lines[at + 1]) == bool(local)
    assert max(map(len, lines)) <= 120
    assert [(one.sampled_accepts, one.sampled_backends) for one in summary.cells] == [(5050, 0), (100, 200), (0, 0)]


@pytest.mark.parametrize(
    ("accepts", "backends", "shown"),
    [(30, 30, "50 + 25 % local"), (29, 30, "? + 25 % local"), (100, 29, "50 + ? % local")],
)
def test_a_share_of_which_too_little_is_known_is_not_shown(accepts: int, backends: int, shown: str) -> None:
    [entry, *_] = compare(planned(["one"]), measure(planned(["one"]), {"one": Server(10_000)}), {}).cells
    entry = msgspec.structs.replace(
        entry,
        workers=2,
        local_accept_share=0.5,
        sampled_accepts=accepts,
        local_backend_share=0.25,
        sampled_backends=backends,
    )
    assert tables.sharing(entry).endswith(f"\n{shown}")


def costs_row(text: str, name: str) -> int:
    """Find the line that begins with the name: elsewhere something stands before it."""
    return next(number for number, line in enumerate(text.splitlines()) if line.startswith(f"{name} "))


def test_reference_and_ties_are_named() -> None:
    text = report(planned(NAMES), SERVERS)
    assert "reference" in row(text, "epoll_raw")
    assert " tie " in row(text, "uvloop")
    assert " tie " not in row(text, "gevent")


def test_the_sentence_says_who_is_ahead_by_how_much_and_how_sure() -> None:
    sentence = report(planned(NAMES), {**SERVERS, "uvloop": Server(90_000)}).split("In one sentence")[1]
    assert "on short epoll_raw serves 12 % (9.5 to 13 %) more requests/s than uvloop, 68 % (" in sentence
    assert " times (" in sentence
    assert "as many as trio." in sentence.replace("\n    ", " ")
    tied = report(planned(NAMES), SERVERS).split("In one sentence")[1]
    assert "ties with" in tied
    assert "and serves 68 %" in tied.replace("\n    ", " ")


def test_where_the_generator_was_the_limit_the_sentence_compares_cpu_and_says_why() -> None:
    limited = {name: Server(15_000, busy, 0.98) for name, busy in zip(NAMES, (0.5, 0.6, 0.7, 0.8), strict=True)}
    text = report(planned(NAMES), limited)
    assert "ranked by CPU per request, not by throughput, because the client was the limit" in text.replace("\n  ", " ")
    assert "epoll_raw needs 17 % (" in text
    assert "less CPU per request than uvloop, 29 % (" in text
    assert "throughput is not ranked on short because the client was the limit." in text
    assert "  epoll_raw  client-bound: server CPU 0 busy 50 %, client CPU 1 busy 98 %" in text


def test_what_has_no_figures_is_shown_without_and_named() -> None:
    plan = planned(NAMES, broken={"trio": ["relay.large"]})
    text = report(plan, SERVERS)
    assert row(text, "trio").split() == ["-", "trio", *["-"] * 5, "0", "not-conformant"]
    assert "  trio       not-conformant: not measured: it broke relay.large" in text
    assert "trio is not ranked on short (not-conformant)." in text


def test_errors_are_told_apart() -> None:
    text = report(planned(NAMES), {**SERVERS, "gevent": Server(60_000, errors={"timeout": 90})})
    assert row(text, "gevent").startswith("- gevent")
    assert "4,500" in row(text, "gevent")
    assert "errors: 4,500 timeout" in text
    assert "gevent is not ranked on short (failed)" in text


def test_an_interrupted_run_says_so() -> None:
    assert "before its plan was done" in report(planned(NAMES), SERVERS, interrupted=True)
    assert "before its plan was done" not in report(planned(NAMES), SERVERS)


def test_a_run_without_any_slice_claims_nothing() -> None:
    text = terminal.render(compare(planned(NAMES), [], {}))
    assert "SHORT: 1 worker, 100 connections, 0 rounds; nothing can be ranked" in text
    assert "on short nothing can be claimed" in text


def test_without_a_rate_cpu_per_request_stands() -> None:
    plan = planned(NAMES)
    slices = [msgspec.structs.replace(piece, window_requests=0, window_ns=0) for piece in measure(plan, SERVERS)]
    text = " ".join(terminal.render(compare(plan, slices, {})).split())
    assert "SHORT: 1 worker, 100 connections, no round with a rate; " in text
    assert (
        "no rate can be told of the reference, epoll_raw: see its evidence. CPU per request and its ratios stand."
        in text
    )
    assert "epoll_raw, has no figures" not in text


def test_the_legend_says_of_what_the_cpu_times_are() -> None:
    plan = planned(NAMES, cell("short"), cell("keepalive"))
    slices = measure(plan, SERVERS)
    own = [msgspec.structs.replace(piece, cpus=[]) for piece in slices]
    mixed = [a if a.cell.startswith("short") else b for a, b in zip(slices, own, strict=True)]
    whole, processes = "what the server's CPUs spent, user + system + softirq", "the processes' own time, without"
    told = [" ".join(terminal.render(compare(plan, some, {})).split()) for some in (slices, own, mixed)]
    assert [(whole in text, processes in text) for text in told] == [(True, False), (False, True), (True, True)]


def test_too_few_rounds_for_a_claim_are_told() -> None:
    plan = planned(NAMES[:2], msgspec.structs.replace(cell("keepalive"), idle=9900))
    servers = {name: SERVERS[name] for name in NAMES[:2]}
    without = [msgspec.structs.replace(piece, phase="without-idle") for piece in measure(plan, servers, rounds=1)]
    for rounds, told in ((1, "on keepalive nothing"), (5, "without the 9,900 idle connections, nothing")):
        slices = measure(plan, servers, rounds=rounds)
        text = " ".join(terminal.render(compare(plan, [*slices, *without], {}, interrupted=True)).split())
        assert f"{told} can be claimed: fewer than 2 rounds were measured" in text


def test_cells_of_one_workload_are_told_apart_by_their_load() -> None:
    cells = [PlannedCell("short", 1, n, server_cpus=(0,), generator_cpus=(1,)) for n in (1, 1000)]
    sentence = report(planned(NAMES, *cells), SERVERS).split("In one sentence")[1]
    assert "on short (1 worker, 1 connection) epoll_raw" in sentence
    assert "on short (1 worker, 1,000 connections) epoll_raw" in sentence


def test_everything_fits_in_120_columns() -> None:
    names = (*NAMES, "epoll_raw+percpu+fastsocket+lean", "an-external-with-a-name-much-too-long-for-a-table")
    servers = {name: Server(1_234_567 / n**2, errors={"connection reset": 100}) for n, name in enumerate(names, 1)}
    plan = planned(
        names, *(cell(workload) for workload in ("short", "keepalive", "proxy")), broken={"trio": ["a"] * 99}
    )
    text = report(plan, servers, interrupted=True)
    assert max(map(len, text.splitlines())) <= 120
    assert re.search(r" 1,2\d\d\.\d  +reference ", text), "a million is shown in thousands"
    assert max(map(len, plan_report.render(plan).splitlines())) <= 120


def test_the_names_of_our_own_are_never_broken() -> None:
    names = [f"{name}{lean}" for name in NAMES for lean in ("", "+lean")]
    plan = planned(names, msgspec.structs.replace(cell("keepalive"), idle=9900))
    lines = terminal.render(compare(plan, measure(plan, dict.fromkeys(names, Server(1_234_567))), {})).splitlines()
    tables = lines[: next(number for number, line in enumerate(lines) if line.startswith("  epoll_raw "))]
    assert sum("epoll_raw+lean " in line for line in tables) == 3
    assert max(map(len, lines)) <= 120


def test_the_names_of_variants_are_broken_only_where_there_is_no_room_for_them() -> None:
    names = ["epoll_raw", "epoll_raw+reuseport+fastsocket+lean"]
    for rate_rps, is_broken in ((12_000, False), (12_345_678_901, True)):
        text = report(planned(names), {name: Server(rate_rps) for name in names})
        assert ("\n  +" in text) == is_broken
        assert max(map(len, text.splitlines())) <= 120


def test_columns_are_aligned() -> None:
    text = report(planned(NAMES), SERVERS)
    lines = text.split("\n\n")[1].splitlines()
    rule = next(line for line in lines if line.startswith("---"))
    gaps = [i for i, char in enumerate(rule) if char == " "]
    assert len(gaps) == 14
    for line in lines:
        assert all(line[i : i + 1] in {"", " "} for i in gaps)


def test_a_hostile_name_stays_text() -> None:
    text = report(planned(["evil\x1b[2J", "a\nb"]), {"evil\x1b[2J": Server(15_000), "a\nb": Server(9_000)})
    assert "\x1b" not in text
    assert "a\\nb" in text


def test_the_report_needs_the_summary_alone() -> None:
    plan = planned(NAMES)
    summary = compare(plan, measure(plan, SERVERS), {})
    assert terminal.render(summary) == terminal.render(_stored(summary))


def _stored(summary: Summary) -> Summary:
    return msgspec.json.decode(msgspec.json.encode(summary), type=Summary)


def test_the_plan_says_what_will_run_and_for_how_long() -> None:
    plan = msgspec.structs.replace(
        planned(NAMES, cell("short"), cell("proxy", backend=[1])), testbed_notes=("auto took it because",)
    )
    text = plan_report.render(plan)
    assert "  epoll_raw (reference)  impls.epoll_raw 1.0\n  uvloop                 impls.uvloop 1.0" in text
    assert "testbed: loopback. Auto took it because.\n" in text
    told = " ".join(text.split())
    assert "2 cells x 4 implementations x 50 rounds of slices of 50 ms (in every second round also one at the" in told
    assert "same rate for all): a budget of 10 s of load, in an order" in told
    assert "seed 7" in text
    assert [line.split() for line in text.splitlines() if line.startswith("  proxy")] == [
        ["proxy", "1", "100", "-", "-", "0", "1", "1"]
    ]
