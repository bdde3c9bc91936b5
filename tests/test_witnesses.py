"""ab and wrk behind the generator's interface: what they print is read right, and their traps are errors."""

import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from harness import ports, processes
from harness.errors import BadInput
from harness.loadgen import GeneratorFailed, Job, Outcome
from harness.loadgen.witnesses import WITNESSES, Ab, Witness, Wrk
from harness.loadgen.witnesses.base import Printed
from harness.registry import find
from harness.schema import Client
from harness.servers import Server

REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
KEPT = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
WITHOUT_LENGTH = b"HTTP/1.0 200 OK\r\n\r\nhello"
ENDS_WITHIN_S = 10.0
NAMES: tuple[Client, ...] = ("ab", "wrk")

Tool = Callable[[str, str], str]


def job(
    reply: bytes = REPLY, workload: Literal["short", "keepalive"] = "short", target: tuple[str, int] = ("127.0.0.1", 1)
) -> Job:
    return Job(workload=workload, targets=[target], concurrency=10, duration_s=1.0, reply=reply, timeout_s=2.0)


# ab's text, as it printed it; figures that nothing reads are left out.


def ab_printed(
    complete: int, failures: tuple[int, int, int, int] = (0, 0, 0, 0), length: int = 5, more: str = ""
) -> Printed:
    connect, receive, wrong_length, exceptions = failures
    kinds = f"   (Connect: {connect}, Receive: {receive}, Length: {wrong_length}, Exceptions: {exceptions})\n"
    return Printed(
        0,
        f"""
Document Path:          /
Document Length:        {length} bytes

Concurrency Level:      10
Time taken for tests:   1.000 seconds
Complete requests:      {complete}
Failed requests:        {sum(failures)}
{kinds if any(failures) else ""}{more}Total transferred:      117734 bytes
HTML transferred:       13690 bytes
Requests per second:    {complete / 1.000009:.2f} [#/sec] (mean)
Time per request:       2.921 [ms] (mean)
""",
        "",
        "Percentage served,Time in ms\n0,3.841\n1,4.438\n100,9.179\n",
    )


def test_ab_is_read() -> None:
    tally = Ab.read(job(), ab_printed(19053))
    assert tally.requests == 19053
    assert tally.duration_ns == pytest.approx(1_000_009_000, abs=1000)
    assert list(tally.quantiles_ns) == [3_841_000, 4_438_000, 9_179_000]
    assert not any(tally.errors.values())


@pytest.mark.parametrize(
    ("printed", "correct", "errors"),
    [
        pytest.param(
            ab_printed(2456, more="Non-2xx responses:      2457\n"), 0, {"status": 2457}, id="every reply is a 404"
        ),
        pytest.param(ab_printed(3424, (0, 0, 686, 0)), 2738, {"wrong reply": 686}, id="some connections are dropped"),
        pytest.param(
            ab_printed(57472, (0, 57472, 0, 28736), length=0), 0, {"receive": 57472, "exception": 28736}, id="refused"
        ),
        pytest.param(ab_printed(5381, length=0), 0, {"wrong reply": 5381}, id="every connection is dropped"),
        pytest.param(ab_printed(6084, length=2), 0, {"wrong reply": 6084}, id="half of every reply"),
        pytest.param(ab_printed(0, length=0), 0, {"timeout": 10}, id="nothing within the time"),
        pytest.param(
            Printed(119, "", "apr_pollset_poll: The timeout specified has expired (70007)\n"), 0, {"timeout": 10},
            id="it gave up",
        ),
        pytest.param(
            Printed(101, "Benchmarking\n", "apr_socket_connect(): Invalid argument (22)\n"), 0,
            {"ab: apr_socket_connect(): Invalid argument (22)": 10}, id="it failed",
        ),
    ],
)  # fmt: skip
def test_ab_counts_no_error_as_correct(printed: Printed, correct: int, errors: dict[str, int]) -> None:
    tally = Ab.read(job(), printed)
    assert tally.requests == correct
    assert {kind: count for kind, count in tally.errors.items() if count} == errors
    assert bool(tally.quantiles_ns) == bool(correct)


def test_ab_tells_of_connections_that_were_not_kept() -> None:
    tally = Ab.read(job(KEPT, "keepalive"), ab_printed(19729, more="Keep-Alive requests:    10000\n"))
    assert tally.errors["not kept"] == 9729


def test_ab_that_prints_something_else_is_no_zero() -> None:
    with pytest.raises(GeneratorFailed, match="no line 'Complete requests'; its last line is 'hello'"):
        Ab.read(job(), Printed(0, "hello\n", ""))


def test_ab_is_told_its_time_before_its_number() -> None:
    arguments = Ab.arguments(job(), Path("file"))
    assert 0 < arguments.index("-t") < arguments.index("-n")


def wrk_printed(requests: int, read: int, size: int, **errors: int) -> Printed:
    counts = ", ".join(f'"{kind}": {errors.get(kind, 0)}' for kind in ("connect", "write", "status", "timeout"))
    line = f'{{"requests": {requests}, "duration_us": 1099668, "bytes": {size}, "read": {read}, {counts}, '
    quantiles = "[237, 1483]" if requests else "[]"
    return Printed(0, f'Transfer/sec: 411.59KB\n{line}"quantiles_us": {quantiles}}}\n', "")


def test_wrk_is_read() -> None:
    tally = Wrk.read(job(), wrk_printed(4000, 0, 4000 * len(REPLY) + 17))
    assert (tally.requests, tally.duration_ns, list(tally.quantiles_ns)) == (4000, 1_099_668_000, [237_000, 1_483_000])
    assert not any(tally.errors.values())


@pytest.mark.parametrize(
    ("reply", "printed", "correct", "errors"),
    [
        pytest.param(REPLY, wrk_printed(4129, 0, 284901, status=4129), 0, {"status": 4129}, id="every reply is a 404"),
        pytest.param(REPLY, wrk_printed(0, 4518, 0), 0, {"read": 4518}, id="every connection is dropped"),
        pytest.param(REPLY, wrk_printed(3563, 887, 153209), 3563, {"read": 887}, id="some connections are dropped"),
        pytest.param(WITHOUT_LENGTH, wrk_printed(2398, 2398, 57552), 2398, {}, id="replies without a Content-Length"),
        pytest.param(REPLY, wrk_printed(4406, 0, 190346), 0, {"wrong reply": 4406}, id="some replies are longer"),
        pytest.param(REPLY, wrk_printed(4406, 0, 150000), 0, {"wrong reply": 4406}, id="some replies are shorter"),
        pytest.param(REPLY, wrk_printed(0, 0, 0), 0, {"timeout": 10}, id="silence"),
        pytest.param(REPLY, wrk_printed(100, 0, 4300, timeout=3), 97, {"timeout": 3}, id="some are late"),
        pytest.param(
            REPLY, Printed(1, "", "unable to connect to 127.0.0.1:1 Connection refused\n"), 0, {"connect": 10},
            id="refused",
        ),
    ],
)  # fmt: skip
def test_wrk_counts_no_error_as_correct(reply: bytes, printed: Printed, correct: int, errors: dict[str, int]) -> None:
    tally = Wrk.read(job(reply), printed)
    assert tally.requests == correct
    assert {kind: count for kind, count in tally.errors.items() if count} == errors
    assert bool(tally.quantiles_ns) == bool(correct)


@pytest.mark.parametrize(("reply", "kept"), [(KEPT, True), (REPLY, False)])
def test_wrk_tells_of_connections_that_are_not_kept(reply: bytes, *, kept: bool) -> None:
    tally = Wrk.read(job(reply, "keepalive"), wrk_printed(100, 0, 100 * len(reply)))
    assert tally.errors.get("not kept", 0) == (0 if kept else 100)


def test_wrk_that_prints_something_else_is_no_zero() -> None:
    with pytest.raises(GeneratorFailed, match="should be the script's JSON, and is 'hello'"):
        Wrk.read(job(), Printed(0, "hello\n", ""))


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_not_installed_is_named_with_its_package(name: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    witness = WITNESSES[name]
    with pytest.raises(BadInput, match=f"--client {name}: {name} is not on the PATH; .* install {witness.package}"):
        witness(None).start()


# The programs themselves


@contextmanager
def installed(name: Client, tool: Tool, cpu: int | None = None) -> Iterator[Witness]:
    witness = WITNESSES[name]
    tool(name, witness.package)
    with witness(cpu) as started:
        yield started


@contextmanager
def served(workload: Literal["short", "keepalive"], folder: Path) -> Iterator[Job]:
    """Run a real server, and give a job for it."""
    [fast] = find("epoll_raw")
    flags = ["-w", "1", *(["-k"] if workload == "keepalive" else [])]
    with ports.reserve("127.0.0.1") as address, Server(fast, flags, [address], folder, "fast") as server:
        server.wait_ready()
        yield job(server.sample_reply(), workload, ports.split(address))


def check(outcome: Outcome) -> None:
    counted = outcome.counted
    assert outcome.errors == {}
    assert counted is not None
    assert counted.requests > 100
    assert 0.9e9 < counted.duration_ns <= outcome.ended_ns - outcome.started_ns
    assert 0 < outcome.cpu_ns <= outcome.ended_ns - outcome.started_ns
    assert len(outcome.completed_ns) == 0
    assert len(outcome.latency_ns) >= 100
    assert np.all(np.diff(outcome.latency_ns.astype(np.int64)) >= 0)
    assert 0 < outcome.latency_ns.min() <= outcome.latency_ns.max() <= counted.duration_ns


@pytest.mark.parametrize(("name", "workload"), [("ab", "keepalive"), ("wrk", "short")])
def test_it_loads_a_server_on_its_cpu_and_only_when_told_to(
    name: Client, workload: Literal["short", "keepalive"], tool: Tool, tmp_path: Path
) -> None:
    cpu = max(os.sched_getaffinity(0))
    with installed(name, tool, cpu) as witness, served(workload, tmp_path) as of_server:
        witness.prepare(of_server)
        witness.wait_prepared(ENDS_WITHIN_S)
        pid = witness.pid
        assert processes.state(pid) == "stopped"
        assert os.sched_getaffinity(pid) == {cpu}
        witness.begin()
        outcome = witness.receive(ENDS_WITHIN_S)
        witness.finish()
    check(outcome)
    assert processes.state(pid) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_port_that_nobody_listens_on_gives_errors_and_no_reply(name: Client, tool: Tool) -> None:
    with socket.socket() as bound, installed(name, tool) as witness:
        bound.bind(("127.0.0.1", 0))
        outcome = witness.run(job(target=bound.getsockname()), ENDS_WITHIN_S)
    assert outcome.counted is not None
    assert outcome.counted.requests == 0
    assert sum(outcome.errors.values()) >= 10
    assert len(outcome.latency_ns) == 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_when_a_job_is_given_up(name: Client, tool: Tool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, installed(name, tool) as witness:
        # It waits for replies that never come, longer than this test takes.
        endless = msgspec.structs.replace(job(target=listener.getsockname()), duration_s=60.0, timeout_s=60.0)
        for begun in (False, True):
            witness.prepare(endless)
            witness.wait_prepared(ENDS_WITHIN_S)
            pid = witness.pid
            if begun:
                witness.begin()
                with pytest.raises(GeneratorFailed, match=rf"{name} gave no answer within 0\.1 s"):
                    witness.receive(0.1)
            witness.stop()
            assert processes.state(pid) is None
            witness.start()


@pytest.mark.parametrize("name", NAMES)
def test_one_that_ends_before_its_time_is_reported(name: Client, tool: Tool) -> None:
    with installed(name, tool) as witness:
        witness.prepare(job())
        os.kill(witness.pid, signal.SIGKILL)
        with pytest.raises(GeneratorFailed, match=f"{name} cannot be started"):
            witness.wait_prepared(ENDS_WITHIN_S)


def test_several_targets_are_refused() -> None:
    several = Job(
        workload="short", targets=list(itertools.repeat(("127.0.0.1", 1), 2)), concurrency=1, duration_s=1,
        reply=REPLY, timeout_s=1,
    )  # fmt: skip
    with pytest.raises(BadInput, match="one address of a server"):
        Ab(None).prepare(several)
