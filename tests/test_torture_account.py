"""What explains a request that failed, and what does not; what the same seed repeats. Pure."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.torture import schedule
from harness.torture.client import take
from harness.torture.content import Content, identity_of
from harness.torture.exchange import Carrier, Exchange
from harness.torture.judge import Outage, Pause, judge
from harness.torture.ledger import Ledger
from harness.torture.script import SLOW_BYTES, Script, draw
from harness.torture.way import BACKEND_REST_S, WAYS

SERVER, KEPT, PROXY, KEPT_PROXY = WAYS
BAD_GATEWAY = b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"
TIMEOUT = BAD_GATEWAY.replace(b"502", b"504")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345"
BACKENDS = 2
SILENT = Script(request_bytes=1, reply_bytes=5, act="fall silent")


def exchange(way: str = "proxy", **known: object) -> Exchange:
    """Make an exchange from 10 s to 11 s of which nothing is known but what is given."""
    script = Script(request_bytes=1, reply_bytes=5)
    [found] = [one for one in WAYS if one.name == way]
    made = Exchange(b"id", found, script, b"PUT /id HTTP/1.0\r\n\r\n", REPLY, Carrier(("127.0.0.1", 1)))
    made.began_s, made.ended_s = 10.0, 11.0
    for name, value in known.items():
        setattr(made, name, value)
    return made


WHOLE = len(REPLY)


@pytest.mark.parametrize(
    "over",
    [
        exchange(received=WHOLE, end="end"),
        exchange("server", received=WHOLE, end="end"),
        exchange("server", received=WHOLE, end="reset"),
        exchange("keepalive", received=WHOLE),
        exchange("proxy-keepalive", received=WHOLE),
        exchange(received=WHOLE, end="end", carrier=Carrier(("127.0.0.1", 1), worker_killed=True)),
    ],
)
def test_a_whole_reply_is_complete_whatever_else_was_done(over: Exchange) -> None:
    assert judge(over, [], [], BACKENDS).complete


@pytest.mark.parametrize(
    ("over", "cause"),
    [
        (exchange(reset_done="within the request"), "its client reset within the request"),
        (exchange(end="reset", carrier=Carrier(("127.0.0.1", 1), worker_killed=True)), "its worker was killed"),
        (exchange(end="end", received=20, cut="ended", cut_after=20), "its backend ended half-way"),
        (exchange(end="reset", received=20, cut="reset", cut_after=20), "its backend reset half-way"),
        (exchange(end="end", own_reply=BAD_GATEWAY, cut="reset", cut_after=0), "its backend reset half-way"),
        (exchange(end="end", own_reply=TIMEOUT, cut="silent", cut_after=0), "its backend fell silent"),
        (exchange(end="end", own_reply=BAD_GATEWAY, cut="died", cut_after=40), "its backend died"),
        (exchange(end="reset", received=7, cut="died", cut_after=40), "its backend died"),
        (exchange(end="end", own_reply=TIMEOUT, cut="died", cut_after=40, script=SILENT), "its backend died"),
        (
            exchange("proxy-keepalive", end="end", carrier=Carrier(("127.0.0.1", 1), backend_died=True)),
            "its backend died between two exchanges",
        ),
    ],
)
def test_a_fault_done_to_the_exchange_explains_it(over: Exchange, cause: str) -> None:
    assert judge(over, [], [], BACKENDS).cause == cause


@pytest.mark.parametrize(
    ("over", "problem"),
    [
        (exchange(end="end"), "0 of 43 bytes, then the end"),
        (exchange(end="end", received=WHOLE - 1), "42 of 43 bytes, then the end"),
        (exchange(wrong="byte 3", received=3), "wrong bytes: byte 3"),
        (exchange(wrong="byte 3", reset_done="within the reply"), "wrong bytes: byte 3"),
        (exchange(wrong="byte 3", carrier=Carrier(("127.0.0.1", 1), worker_killed=True)), "wrong bytes: byte 3"),
        (exchange(end="end", received=19, cut="ended", cut_after=20), "19 of 43 bytes, then the end, though"),
        (exchange(end="none", received=20, cut="ended", cut_after=20), "20 of 43 bytes, then nothing, though"),
        (exchange(end="end", own_reply=BAD_GATEWAY, cut="ended", cut_after=20), "the proxy answered"),
        (exchange(end="end", own_reply=TIMEOUT, cut="ended", cut_after=0), "the proxy answered"),
        (exchange(end="end", own_reply=BAD_GATEWAY[:-1], cut="ended", cut_after=0), "the proxy answered"),
        (exchange(end="end", own_reply=BAD_GATEWAY), "the proxy answered"),
        (exchange("keepalive", end="end", carrier=Carrier(("127.0.0.1", 1))), "0 of 43 bytes, then the end"),
        (exchange(problem="not over after 20 s"), "not over after 20 s"),
    ],
)
def test_what_no_fault_was_done_to_is_unexplained(over: Exchange, problem: str) -> None:
    verdict = judge(over, [], [], BACKENDS)
    assert not verdict.complete
    assert not verdict.cause
    assert verdict.problem.startswith(problem)


@pytest.mark.parametrize(
    ("outages", "cause"),
    [
        pytest.param([Outage(0, 9.0, 12.0), Outage(1, 9.5, 12.0)], "every backend was out", id="both"),
        pytest.param([Outage(0, 9.0), Outage(1, 9.5)], "every backend was out", id="both, and they have not returned"),
        pytest.param([Outage(0, 9.0, 12.0), Outage(1, 8.0, 9.9)], "every backend was out", id="one is left out still"),
        pytest.param([Outage(0, 9.0, 9.6), Outage(1, 9.0, 9.6)], "every backend was out", id="both are left out still"),
        pytest.param([Outage(0, 9.0, 9.4), Outage(1, 9.0, 9.4)], "", id="none is left out any more"),
        pytest.param([Outage(0, 9.0, 12.0)], "", id="one only"),
        pytest.param([Outage(0, 5.0, 6.0), Outage(1, 5.0, 6.0)], "", id="long before"),
        pytest.param([Outage(0, 12.0), Outage(1, 12.0)], "", id="after it"),
        pytest.param([Outage(0, 10.5, 10.6)], "its backend died before it accepted", id="one dies meanwhile"),
        pytest.param([], "", id="none"),
    ],
)
def test_a_502_is_explained_only_while_no_backend_may_be_asked(outages: list[Outage], cause: str) -> None:
    assert BACKEND_REST_S < 0.5
    assert judge(exchange(end="end", own_reply=BAD_GATEWAY), outages, [], BACKENDS).cause == cause


@pytest.mark.parametrize(
    ("pauses", "cause"),
    [
        pytest.param([Pause("proxy", 8.9, 9.6)], "every backend was out", id="it goes on shortly before"),
        pytest.param([Pause("proxy", 8.9)], "every backend was out", id="it is stopped still"),
        pytest.param(
            [Pause("proxy", 8.0, 8.2), Pause("proxy", 9.0, 9.6)], "every backend was out", id="of several one"
        ),
        pytest.param([Pause("proxy", 8.9, 9.4)], "", id="it went on long before"),
        pytest.param([Pause("proxy", 9.4, 9.9)], "", id="it is stopped when all is over"),
        pytest.param([Pause("proxy-keepalive", 8.9, 9.6)], "", id="another server's is stopped"),
        pytest.param([], "", id="none is stopped"),
    ],
)
def test_an_outage_explains_a_502_later_where_a_worker_was_stopped(pauses: list[Pause], cause: str) -> None:
    assert BACKEND_REST_S == 0.2
    outages = [Outage(0, 8.5, 9.0), Outage(1, 8.5, 9.0)]
    assert judge(exchange(end="end", own_reply=BAD_GATEWAY), outages, pauses, BACKENDS).cause == cause


def test_a_worker_that_was_stopped_explains_nothing_by_itself() -> None:
    pauses = [Pause("proxy", 9.0, 10.5)]
    assert judge(exchange(end="end", own_reply=BAD_GATEWAY), [], pauses, BACKENDS).problem
    assert judge(exchange(end="end"), [], pauses, BACKENDS).problem


def test_an_outage_explains_no_cut_reply_and_no_exchange_that_a_backend_has_taken() -> None:
    outages = [Outage(0, 9.0), Outage(1, 9.0)]
    assert judge(exchange(end="end", received=5), outages, [], BACKENDS).problem
    assert judge(exchange(end="end", own_reply=BAD_GATEWAY, reached_backend=True), outages, [], BACKENDS).problem


def test_a_reply_up_to_the_end_needs_an_orderly_one() -> None:
    by_end = Script(request_bytes=1, reply_bytes=5, with_length=False)
    assert judge(exchange(received=WHOLE, end="end", script=by_end), [], [], BACKENDS).complete
    assert judge(exchange(received=WHOLE, end="reset", script=by_end), [], [], BACKENDS).problem


@pytest.mark.parametrize("size", [1, 7, 12, 4096])
def test_every_byte_is_compared(size: int) -> None:
    good, bad, more, own = exchange(), exchange(), exchange(), exchange()
    altered = REPLY[:30] + b"#" + REPLY[31:]
    for over, data in ((good, REPLY), (bad, altered), (more, REPLY + b"x"), (own, BAD_GATEWAY)):
        for begin in range(0, len(data), size):
            if not over.wrong:
                take(over, data[begin : begin + size])
    assert (good.received, good.wrong) == (WHOLE, "")
    assert bad.wrong.startswith("byte 30 ")
    assert more.wrong
    assert own.own_reply == BAD_GATEWAY


def test_contents_differ_between_exchanges_and_not_between_runs() -> None:
    content = Content(5)
    made = {content.reply(b"%d" % n, 1000, with_length=False)[60:] for n in range(1000)}
    assert len(made) == 1000
    assert content.request(b"a", 3_000_000) == Content(5).request(b"a", 3_000_000)
    assert len(content.request(b"a", 3_000_000)) == len(content.request(b"a", 0)) + 3_000_000 + len("3000000") - 1
    assert content.request(b"a", 500) != Content(6).request(b"a", 500)


@pytest.mark.parametrize(
    ("begun", "identity"),
    [(b"PUT /proxy-1-2 HTTP/1.0\r\n", b"proxy-1-2"), (b"PUT /proxy-1", b""), (b"GET /x HTTP", b""), (b"", b"")],
)
def test_an_identity_is_read_when_it_is_whole(begun: bytes, identity: bytes) -> None:
    assert identity_of(begun) == identity
    assert identity_of(bytearray(begun)) == identity


def test_the_same_seed_gives_the_same_faults_and_exchanges() -> None:
    def drawn(seed: int) -> tuple[object, ...]:
        source = random.Random(seed)
        scripts = [draw(source, way) for way in WAYS for _ in range(200)]
        faults = list(itertools.islice(schedule.faults(seed, "proxy"), 100))
        return scripts, faults, list(itertools.islice(schedule.deaths(seed, 3), 100))

    assert drawn(1) == drawn(1)
    assert all(one != another for one, another in zip(drawn(1), drawn(2), strict=True))


def test_every_kind_of_fault_is_drawn() -> None:
    scripts = [draw(random.Random(seed), way) for way in WAYS for seed in range(3000)]
    assert {one.reset for one in scripts} == {
        None, "before the request", "within the request", "after the request", "within the reply",
    }  # fmt: skip
    assert {one.act for one in scripts} == {"answer", "answer early", "fall silent", "end", "reset"}
    assert any(one.half_close for one in scripts)
    assert any(one.writing.pause_s for one in scripts)
    assert any(one.slow_reading.pause_s for one in scripts)
    assert any(one.stall_s for one in scripts)
    assert max(one.reply_bytes for one in scripts) > 1_000_000
    proxied = [draw(random.Random(seed), PROXY) for seed in range(3000)]
    assert min(one.reply_bytes for one in proxied if one.slow_reading.pause_s) >= SLOW_BYTES
    assert any(one.taking.pause_s and one.request_bytes >= SLOW_BYTES for one in proxied)
    kinds = {one.kind for one in itertools.islice(schedule.faults(1, "server"), 200)}
    assert kinds == set(schedule.KINDS)
    assert {len(one.backends) for one in itertools.islice(schedule.deaths(1, 3), 100)} == {1, 3}


def test_a_full_disk_costs_the_files_and_not_the_account(tmp_path: Path) -> None:
    (tmp_path / "faults.jsonl").symlink_to("/dev/full")
    ledger = Ledger(tmp_path, BACKENDS)
    for _ in range(3):
        ledger.fault("workers killed", "server 1")
    assert ledger.faults["workers killed"] == 3
    [told] = ledger.findings
    assert told.endswith("are cut off: No space left on device")


def test_times_that_are_written_down_count_from_the_begin(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, BACKENDS)
    ledger.fault("workers killed", "server 1")
    assert 0 <= json.loads((tmp_path / "faults.jsonl").read_text())["at_s"] < 60


def test_each_request_is_entered_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, BACKENDS)
    lost = exchange(end="end")
    for over in (exchange(received=WHOLE, end="end"), exchange(reset_done="within the reply"), lost):
        ledger.begin(over)
        ledger.finish(over)
    assert ledger.balanced
    assert (ledger.replies.total(), ledger.explained.total(), len(ledger.unexplained)) == (1, 1, 1)
    [kept] = (tmp_path / "unexplained.jsonl").read_text().splitlines()
    assert json.loads(kept)["problem"] == "0 of 43 bytes, then the end"
    ledger.begin(replace(lost))
    assert not ledger.balanced
