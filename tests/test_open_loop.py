"""The open loop: requests that come when they are due, whatever the server does, and times counted from there."""

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from harness import ports, processes
from harness.conformance.connection import Connection
from harness.loadgen import Generator, Job, Outcome
from harness.registry import find
from harness.servers import Server
from tests.peers import BEYOND_LOOPBACK, REPLY, Handler, sending, sending_each_time, serving

RATE_RPS = 1000.0
SLICE_S = 0.3
DUE = RATE_RPS * SLICE_S
NOT_LIKELY = 5 * DUE**0.5
"""Five standard deviations of the number of requests."""
STALL_S = 0.1
IN_TIME_WITHIN_S = 60.0
"""How long a busy machine may take until it lets a generator be in time, in one job."""
ENDS_WITHIN_S = 5.0

Workload = Literal["short", "keepalive", "proxy"]
both = pytest.mark.parametrize("workload", ["short", "keepalive"])


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator(min(os.sched_getaffinity(0))) as generator:
        yield generator


@pytest.fixture
def fast(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Run a server that is done at once, for the workload that the test is parametrized with."""
    flags = ["-k"] if request.getfixturevalue("workload") == "keepalive" else []
    [implementation] = find("epoll_raw")
    with (
        ports.reserve("127.0.0.1") as address,
        Server(implementation, ["-w", "1", *flags], [address], tmp_path, "fast") as server,
    ):
        server.wait_ready()
        yield server


def run(
    generator: Generator,
    target: tuple[str, int],
    workload: Workload,
    *,
    reply: bytes = REPLY,
    rate_rps: float | None = RATE_RPS,
    seed: int = 1,
    concurrency: int = 4,
    timeout_s: float = ENDS_WITHIN_S,
) -> Outcome:
    job = Job(
        workload=workload,
        targets=[target],
        concurrency=concurrency,
        duration_s=SLICE_S,
        reply=reply,
        timeout_s=timeout_s,
        rate_rps=rate_rps,
        seed=seed,
    )
    return generator.run(job, SLICE_S + timeout_s + ENDS_WITHIN_S)


def due_ns(outcome: Outcome) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return when the answered requests were due, in order, from the begin of the job."""
    return np.sort((outcome.completed_ns - outcome.latency_ns - outcome.started_ns).astype(np.int64))


@pytest.mark.parametrize("workload", ["short", "keepalive", "proxy"])
def test_requests_come_at_the_rate_and_every_reply_has_its_times(
    generator: Generator, workload: Workload, fast: Server
) -> None:
    outcome = run(generator, ports.split(fast.listen[0]), workload, reply=fast.sample_reply())
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == pytest.approx(DUE, abs=NOT_LIKELY)
    assert due_ns(outcome)[0] >= 0
    assert due_ns(outcome)[-1] < SLICE_S * 1e9 <= outcome.ended_ns - outcome.started_ns
    check_order(outcome, workload)
    assert 0 < outcome.lateness_ns <= outcome.latency_ns.max()


def test_a_handshake_that_is_waited_for_has_its_time_too(generator: Generator) -> None:
    with serving(sending(REPLY)) as (_, port):
        outcome = run(generator, (BEYOND_LOOPBACK, port), "short")
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == pytest.approx(DUE, abs=NOT_LIKELY)
    check_order(outcome, "short")


@both
@pytest.mark.parametrize("via", ["127.0.0.1", BEYOND_LOOPBACK])
def test_the_first_byte_has_a_time_of_its_own(generator: Generator, workload: Workload, via: str) -> None:
    with serving(sending_halves(kept=workload == "keepalive")) as (_, port):
        outcome = run(generator, (via, port), workload, rate_rps=RATE_RPS / 4)
    assert outcome.errors == {}
    check_order(outcome, workload)
    assert np.any(outcome.first_byte_ns < outcome.latency_ns)


def sending_halves(*, kept: bool) -> Handler:
    """Answer with a half that the client reads alone, however late it is, and the rest after that."""

    def handler(connection: socket.socket) -> None:
        client = Connection(connection, connection.getpeername())
        while connection.recv(4096):
            connection.sendall(REPLY[:9])
            client.wait_taken(ENDS_WITHIN_S)
            connection.sendall(REPLY[9:])
            if not kept:
                return

    return handler


def check_order(outcome: Outcome, workload: Workload) -> None:
    assert len(outcome.first_byte_ns) == len(outcome.latency_ns) == len(outcome.completed_ns) > 0
    assert np.all(outcome.first_byte_ns <= outcome.latency_ns)
    if workload == "keepalive":
        assert len(outcome.connect_ns) == 0
    else:
        assert len(outcome.connect_ns) == len(outcome.latency_ns)
        assert np.all(outcome.connect_ns > 0)
        assert np.all(outcome.connect_ns < outcome.first_byte_ns)


@both
def test_a_closed_loop_has_none_of_these(generator: Generator, workload: Workload) -> None:
    handler = sending(REPLY) if workload == "short" else sending_each_time(REPLY)
    with serving(handler) as address:
        outcome = run(generator, address, workload, rate_rps=None)
    assert outcome.errors == {}
    assert len(outcome.connect_ns) == len(outcome.first_byte_ns) == outcome.lateness_ns == 0


@pytest.mark.parametrize("workload", ["keepalive"])
def test_the_seed_fixes_when_requests_are_due(generator: Generator, workload: Workload, fast: Server) -> None:
    target, reply = ports.split(fast.listen[0]), fast.sample_reply()
    first, again, other = (due_ns(run(generator, target, workload, reply=reply, seed=seed)) for seed in (1, 1, 2))
    assert len(first) == len(again)
    assert np.all(np.abs(first - again) <= 1)
    assert not set(first) & set(other)
    # The gaps of a Poisson process: their standard deviation is their mean, where even ones have none.
    gaps = np.diff(first)
    assert gaps.mean() / 2 < gaps.std() < gaps.mean() * 2


@pytest.mark.parametrize("workload", ["keepalive"])
def test_the_generator_sleeps_until_the_next_is_due(generator: Generator, workload: Workload, fast: Server) -> None:
    target = ports.split(fast.listen[0])
    outcome = run(generator, target, workload, reply=fast.sample_reply(), rate_rps=RATE_RPS / 4)
    assert outcome.cpu_ns < (outcome.ended_ns - outcome.started_ns) / 4


class Stalling:
    """A server that answers at once but for one time, when everybody waits; and what it saw."""

    def __init__(self, workload: Workload) -> None:
        self.from_ns = self.until_ns = 0
        self.most_connections = 0
        self.requests_of: list[int] = []
        """One number for each connection."""
        self._each_time = workload == "keepalive"
        self._count_lock = threading.Lock()
        self._answer_lock = threading.Lock()
        self._open = 0
        self._turns = itertools.count()

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        with self._count_lock:
            number = len(self.requests_of)
            self.requests_of.append(0)
            self._open += 1
            self.most_connections = max(self.most_connections, self._open)
        while connection.recv(4096):
            self.requests_of[number] += 1
            with self._answer_lock:
                if next(self._turns) == DUE // 10:
                    self.from_ns = time.monotonic_ns()
                    threading.Event().wait(STALL_S)
                    self.until_ns = time.monotonic_ns()
            if not self._each_time:
                with self._count_lock:
                    self._open -= 1
            connection.sendall(REPLY)
            if not self._each_time:
                return


@both
def test_who_is_due_while_the_server_stalls_has_waited(generator: Generator, workload: Workload) -> None:
    def in_time() -> bool:
        """Have a job whose stall was within its time, and whose generator was held up by nothing else."""
        stalling = Stalling(workload)
        with serving(stalling) as address:
            outcome = run(generator, address, workload, concurrency=4)
        assert outcome.errors == {}
        assert len(outcome.completed_ns) == pytest.approx(DUE, abs=NOT_LIKELY)
        due = outcome.completed_ns - outcome.latency_ns
        meanwhile = (due >= stalling.from_ns) & (due < stalling.until_ns)
        assert np.all(outcome.completed_ns[meanwhile] > stalling.until_ns)
        assert stalling.most_connections <= 4
        if stalling.until_ns > outcome.started_ns + SLICE_S * 1e9:
            return False
        assert meanwhile.sum() > RATE_RPS * STALL_S / 2, "in a closed loop it would be one for each connection"
        assert stalling.most_connections == 4
        # The wait in the line, of a third of all, is not the generator's doing.
        return outcome.lateness_ns < STALL_S * 1e9 * 0.9

    assert processes.wait_until(in_time, IN_TIME_WITHIN_S)


def test_kept_connections_are_all_used_and_none_is_opened_anew(generator: Generator) -> None:
    stalling = Stalling("keepalive")
    with serving(stalling) as address:
        outcome = run(generator, address, "keepalive", concurrency=10)
    assert len(stalling.requests_of) == 10
    assert min(stalling.requests_of) > len(outcome.completed_ns) / 20


def answering(times: int) -> Handler:
    """Answer the first requests of all, and leave their connections open."""
    requests = itertools.count()

    def handler(connection: socket.socket) -> None:
        while connection.recv(4096):
            if next(requests) < times:
                connection.sendall(REPLY)

    return handler


@both
def test_all_that_were_due_and_not_answered_are_timeouts(generator: Generator, workload: Workload) -> None:
    """Those in the line, too: every connection is in use by then."""
    # On kept connections the first exchange of each is not part of the job.
    with serving(answering(4 if workload == "keepalive" else 0)) as address:
        outcome = run(generator, address, workload, concurrency=4, timeout_s=0.1)
    assert set(outcome.errors) == {"timeout"}
    assert outcome.errors["timeout"] == pytest.approx(DUE, abs=NOT_LIKELY)
    assert len(outcome.completed_ns) == len(outcome.first_byte_ns) == 0


@both
def test_wrong_replies_are_errors_and_replies_and_errors_are_what_was_due(
    generator: Generator, workload: Workload
) -> None:
    turns = itertools.count()

    def handler(connection: socket.socket) -> None:
        while connection.recv(4096):
            is_wrong = next(turns) % 10 == 9
            connection.sendall(REPLY[:-1] + b"!" if is_wrong else REPLY)
            if workload == "short" or is_wrong:
                return

    with serving(handler) as address:
        outcome = run(generator, address, workload, rate_rps=RATE_RPS / 2)
    assert set(outcome.errors) == {"wrong reply"}
    assert outcome.errors["wrong reply"] > 5
    answered = len(outcome.completed_ns)
    assert answered + outcome.errors["wrong reply"] == pytest.approx(DUE / 2, abs=NOT_LIKELY)
    check_order(outcome, workload)


@both
def test_a_refusing_server_is_an_error_for_each_request(generator: Generator, workload: Workload) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        # So many that not all of them are pausing when the next request is due. Those that are not to be had kept are
        # waited for as long as for a reply; others are for nothing but the generator's turn.
        timeout_s = 0.1 if workload == "keepalive" else ENDS_WITHIN_S
        outcome = run(generator, bound.getsockname(), workload, concurrency=50, timeout_s=timeout_s)
    assert set(outcome.errors) == ({"connect", "timeout"} if workload == "keepalive" else {"connect"})
    assert sum(outcome.errors.values()) > DUE - NOT_LIKELY


def test_a_free_connection_that_the_server_ends_is_opened_anew(generator: Generator) -> None:
    with serving(sending(REPLY)) as address:
        outcome = run(generator, address, "keepalive")
    assert len(outcome.completed_ns) > 4
    assert set(outcome.errors) <= {"closed early", "reset"}
    assert outcome.errors["closed early"] > 4


def test_a_second_reply_on_a_free_connection_is_wrong(generator: Generator) -> None:
    """The second one comes when the first has been read, and before any other request has its reply."""
    due, is_told = itertools.count(), threading.Event()

    def handler(connection: socket.socket) -> None:
        client = Connection(connection, connection.getpeername())
        for number in itertools.count():
            if not connection.recv(4096):
                return
            if number and next(due):
                is_told.wait(ENDS_WITHIN_S)
            connection.sendall(REPLY)
            if number and not is_told.is_set():
                client.wait_taken(ENDS_WITHIN_S)
                connection.sendall(REPLY)
                client.wait_taken(ENDS_WITHIN_S)
                is_told.set()

    with serving(handler) as address:
        outcome = run(generator, address, "keepalive", rate_rps=20, concurrency=20)
    assert outcome.errors == {"wrong reply": 1}
    assert len(outcome.completed_ns) > 1


@both
def test_the_process_ends_in_the_middle_of_a_job(workload: Workload) -> None:
    handler = sending(REPLY) if workload == "short" else sending_each_time(REPLY)
    with serving(handler) as address, Generator(None) as generator:
        job = Job(
            workload=workload,
            targets=[address],
            concurrency=4,
            duration_s=60,
            reply=REPLY,
            timeout_s=60,
            rate_rps=100,
        )
        generator.prepare(job)
        generator.wait_prepared(ENDS_WITHIN_S)
        generator.begin()
        pid = generator.pid
        generator.stop()
        assert processes.state(pid) is None
