"""The generator's counting, against servers that each do one thing, right or wrong."""

import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import psutil
import pytest

from harness import ports, processes
from harness.conformance.connection import Connection
from harness.loadgen import Generator, GeneratorFailed, Job, Outcome, receive
from harness.loadgen.connections import PAUSE_NS, TIMES_KEPT
from harness.registry import find
from harness.servers import Server
from tests.peers import (
    BEYOND_LOOPBACK,
    LARGE_REPLY,
    REPLY,
    Handler,
    never,
    reply_then_reset,
    reset,
    sending,
    sending_each_time,
    serving,
)

ROOT = Path(__file__).parent.parent
SLICE_S = 0.1
SHORT_TIMEOUT_S = 0.3
"""For servers that make the generator wait for nothing."""
REPLY_WITHIN_S = 2.0
"""For those that make it wait for the end of a stream, when the reply has come."""
ENDS_WITHIN_S = 5.0

VIA = pytest.mark.parametrize("via", ["127.0.0.1", BEYOND_LOOPBACK])
"""The address that the generator connects to."""


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator(min(os.sched_getaffinity(0))) as generator:
        yield generator


def job(
    *targets: tuple[str, int],
    workload: Literal["short", "keepalive", "proxy"] = "short",
    concurrency: int = 4,
    duration_s: float = SLICE_S,
    reply: bytes = REPLY,
    timeout_s: float = ENDS_WITHIN_S,
) -> Job:
    return Job(
        workload=workload,
        targets=list(targets),
        concurrency=concurrency,
        duration_s=duration_s,
        reply=reply,
        timeout_s=timeout_s,
    )


def run(generator: Generator, the_job: Job) -> Outcome:
    return generator.run(the_job, the_job.duration_s + the_job.timeout_s + ENDS_WITHIN_S)


def runs_until(enough: Callable[[Outcome], bool], generator: Generator, the_job: Job) -> list[Outcome]:
    """Run a job once, and again with twice the time while a busy machine has let it have too little of it."""
    outcomes = [run(generator, the_job)]
    while not enough(outcomes[-1]) and the_job.duration_s < ENDS_WITHIN_S:
        the_job = msgspec.structs.replace(the_job, duration_s=2 * the_job.duration_s)
        outcomes.append(run(generator, the_job))
    return outcomes


@pytest.mark.parametrize("workload", ["short", "proxy"])
def test_each_correct_reply_counts_once(generator: Generator, workload: Literal["short", "proxy"]) -> None:
    answered = itertools.count()

    def handler(connection: socket.socket) -> None:
        assert connection.recv(4096).startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:")
        connection.sendall(REPLY)
        next(answered)

    with serving(handler) as address:
        outcome = run(generator, job(address, workload=workload))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == len(outcome.latency_ns) == next(answered) > 0
    check_times(outcome)


def test_kept_connections_carry_many_requests(generator: Generator) -> None:
    accepted, answered = itertools.count(), itertools.count()

    def handler(connection: socket.socket) -> None:
        next(accepted)
        while connection.recv(4096):
            connection.sendall(REPLY)
            next(answered)

    with serving(handler) as address:
        the_job = job(address, workload="keepalive", concurrency=3)
        outcomes = runs_until(lambda outcome: len(outcome.completed_ns) > 3, generator, the_job)
    assert not any(outcome.errors for outcome in outcomes)
    connections = 3 * len(outcomes)
    assert next(accepted) == connections
    assert len(outcomes[-1].completed_ns) > 3
    for outcome in outcomes:
        assert len(outcome.completed_ns) == len(outcome.latency_ns)
        check_times(outcome)
    # The first exchange of each is not part of the job.
    assert sum(len(outcome.completed_ns) for outcome in outcomes) == next(answered) - connections


def test_kept_connections_are_open_before_the_time_of_the_job_and_after_it(generator: Generator) -> None:
    used, closed = threading.Semaphore(0), threading.Semaphore(0)
    answered = itertools.count()

    def handler(connection: socket.socket) -> None:
        while connection.recv(4096):
            next(answered)
            connection.sendall(REPLY)
            used.release()
        closed.release()

    with serving(handler) as address:
        generator.prepare(job(address, workload="keepalive", concurrency=2))
        generator.wait_prepared(ENDS_WITHIN_S)
        assert all(used.acquire(timeout=ENDS_WITHIN_S) for _ in range(2))
        assert next(answered) == 2, "one exchange on each connection"
        generator.begin()
        outcome = generator.receive(ENDS_WITHIN_S)
        assert outcome.errors == {}
        assert not closed.acquire(timeout=0.05)
        generator.finish()
        assert all(closed.acquire(timeout=ENDS_WITHIN_S) for _ in range(2))


def check_times(outcome: Outcome) -> None:
    completed_ns, latency_ns = outcome.completed_ns, outcome.latency_ns
    assert completed_ns.dtype == latency_ns.dtype == np.uint64
    assert np.all(latency_ns > 0)
    assert np.all(completed_ns - latency_ns >= outcome.started_ns)
    assert np.all(completed_ns <= outcome.ended_ns)
    assert 0 < outcome.cpu_ns <= outcome.ended_ns - outcome.started_ns


def test_a_generator_runs_one_job_after_another(generator: Generator) -> None:
    with serving(sending(REPLY)) as short, serving(sending_each_time(REPLY)) as kept:
        outcomes = [
            run(generator, job(short)),
            run(generator, job(kept, workload="keepalive")),
            run(generator, job(short)),
        ]
    assert [outcome.errors for outcome in outcomes] == [{}, {}, {}]
    assert all(len(outcome.completed_ns) > 0 for outcome in outcomes)
    assert outcomes[0].ended_ns <= outcomes[1].started_ns
    assert outcomes[1].ended_ns <= outcomes[2].started_ns


def test_the_latency_is_that_of_the_last_byte_though_the_end_comes_later(generator: Generator) -> None:
    ended_ns: list[int] = []

    def handler(connection: socket.socket) -> None:
        client = Connection(connection, connection.getpeername())
        connection.recv(4096)
        connection.sendall(REPLY)
        # It has read the reply, and then has nothing left to do: so it has taken the time as well.
        client.wait_taken(ENDS_WITHIN_S)
        processes.wait_until(lambda: processes.state(generator.pid) == psutil.STATUS_SLEEPING, ENDS_WITHIN_S)
        ended_ns.append(time.monotonic_ns())

    with serving(handler) as address:
        outcome = run(generator, job(address, concurrency=1))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == len(ended_ns) > 0
    assert np.all(outcome.completed_ns < np.array(ended_ns, np.uint64))


def test_as_many_connections_as_asked_for_are_under_way_where_the_generator_is_the_limit(
    generator: Generator, tmp_path: Path
) -> None:
    """Looked at whenever one begins, from when each has begun once to the end: whoever is held up in between."""
    concurrency = 500
    [fast] = find("epoll_raw")
    with ports.reserve("127.0.0.1") as address, Server(fast, ["-w", "1"], [address], tmp_path, "fast") as server:
        server.wait_ready()
        the_job = job(ports.split(address), concurrency=concurrency, reply=server.sample_reply())
        *_, outcome = runs_until(lambda outcome: len(outcome.completed_ns) > 4 * concurrency, generator, the_job)
    assert outcome.errors == {}
    begun = np.sort(outcome.completed_ns - outcome.latency_ns)
    ended_before = np.searchsorted(np.sort(outcome.completed_ns), begun, side="right")
    under_way = (np.arange(1, len(begun) + 1) - ended_before)[concurrency - 1 :]
    assert len(under_way) > 3 * concurrency
    assert 0.8 * concurrency < under_way.min() <= under_way.max() <= concurrency


@pytest.mark.parametrize("workload", ["short", "keepalive"])
def test_targets_are_used_in_turn(generator: Generator, workload: Literal["short", "keepalive"]) -> None:
    accepted = [itertools.count() for _ in range(3)]

    def counting(counter: "itertools.count[int]") -> Handler:
        def handler(connection: socket.socket) -> None:
            next(counter)
            (sending if workload == "short" else sending_each_time)(REPLY)(connection)

        return handler

    with ExitStack() as stack:
        targets = [stack.enter_context(serving(counting(counter))) for counter in accepted]
        outcome = run(generator, job(*targets, workload=workload, concurrency=6))
    counts = [next(counter) for counter in accepted]
    assert outcome.errors == {}
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == (len(outcome.completed_ns) if workload == "short" else 6)


@pytest.mark.parametrize("workload", ["short", "keepalive"])
def test_ipv6(generator: Generator, workload: Literal["short", "keepalive"]) -> None:
    handler = sending(REPLY) if workload == "short" else sending_each_time(REPLY)
    with serving(handler, host="::1") as address:
        outcome = run(generator, job(address, workload=workload))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) > 0


@pytest.mark.parametrize("workload", ["short", "keepalive"])
@pytest.mark.parametrize("parts", [[REPLY[:1], REPLY[1:]], [REPLY[i : i + 1] for i in range(len(REPLY))]])
@VIA
def test_a_reply_in_pieces_is_correct(
    generator: Generator, workload: Literal["short", "keepalive"], parts: list[bytes], via: str
) -> None:
    handler = sending(*parts) if workload == "short" else sending_each_time(*parts)
    with serving(handler) as (_, port):
        outcome = run(generator, job((via, port), workload=workload))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == len(outcome.latency_ns) > 0


@pytest.mark.parametrize("workload", ["short", "keepalive"])
@VIA
def test_a_reply_larger_than_any_buffer_is_correct(
    generator: Generator, workload: Literal["short", "keepalive"], via: str
) -> None:
    handler = sending(LARGE_REPLY) if workload == "short" else sending_each_time(LARGE_REPLY)
    with serving(handler) as (_, port):
        outcome = run(generator, job((via, port), workload=workload, reply=LARGE_REPLY))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == len(outcome.latency_ns) > 0


def dated(second: int, body: bytes = b"hello") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Wed, 25 Nov 2026 15:47:{second:02} GMT\r\nContent-Length: 5\r\n\r\n"
    return head.encode() + body


@VIA
@pytest.mark.parametrize("workload", ["short", "keepalive"])
@pytest.mark.parametrize(
    ("cut", "body", "errors"), [(0, b"hello", set()), (45, b"hello", set()), (0, b"jello", {"wrong reply"})]
)
def test_a_reply_may_have_another_date_and_nothing_else(
    generator: Generator, workload: Literal["short", "keepalive"], via: str, cut: int, body: bytes, errors: set[str]
) -> None:
    seconds = itertools.cycle(range(60))

    def handler(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(4096):
            reply = dated(next(seconds), body)
            for part in filter(None, (reply[:cut], reply[cut:])):
                connection.sendall(part)
            if workload == "short":
                break

    with serving(handler) as (_, port):
        outcome = run(generator, job((via, port), workload=workload, reply=dated(0)))
    assert outcome.errors.keys() == errors
    assert bool(len(outcome.completed_ns)) != bool(errors)


WRONG_BYTE = REPLY[:-1] + b"!"

FAULTS: dict[str, tuple[Literal["short", "keepalive"], bytes, Handler, str]] = {
    "wrong byte": ("short", REPLY, sending(WRONG_BYTE), "wrong reply"),
    "wrong byte, not closed": ("short", REPLY, sending_each_time(WRONG_BYTE), "wrong reply"),
    "wrong byte in a large reply": ("short", LARGE_REPLY, sending(LARGE_REPLY[:-1] + b"!"), "wrong reply"),
    "one byte too many": ("short", REPLY, sending(REPLY + b"!"), "wrong reply"),
    "one byte too many, later": ("short", REPLY, sending(REPLY, b"!"), "wrong reply"),
    "two replies": ("short", REPLY, sending(REPLY, REPLY), "wrong reply"),
    "one byte too few": ("short", REPLY, sending(REPLY[:-1]), "closed early"),
    "one byte too few of a large reply": ("short", LARGE_REPLY, sending(LARGE_REPLY[:-1]), "closed early"),
    "no reply": ("short", REPLY, sending(), "closed early"),
    "reset": ("short", REPLY, reset, "reset"),
    "reset instead of the end": ("short", REPLY, reply_then_reset, "reset"),
    "silence": ("short", REPLY, never, "timeout"),
    "no end": ("short", REPLY, sending_each_time(REPLY), "not closed"),
    "no end of a large reply": ("short", LARGE_REPLY, sending_each_time(LARGE_REPLY), "not closed"),
    "half a reply, then silence": ("short", REPLY, sending_each_time(REPLY[:9]), "timeout"),
    "kept: wrong byte": ("keepalive", REPLY, sending_each_time(WRONG_BYTE), "wrong reply"),
    "kept: one byte too many": ("keepalive", REPLY, sending_each_time(REPLY + b"!"), "wrong reply"),
    "kept: one byte too few": ("keepalive", REPLY, sending(REPLY[:-1]), "closed early"),
    "kept: no reply": ("keepalive", REPLY, sending(), "closed early"),
    "kept: reset": ("keepalive", REPLY, reset, "reset"),
    "kept: silence": ("keepalive", REPLY, never, "timeout"),
    "kept: half a reply, then silence": ("keepalive", REPLY, sending_each_time(REPLY[:9]), "timeout"),
}


@pytest.mark.parametrize("fault", FAULTS)
@VIA
def test_what_is_not_a_correct_reply_is_an_error_of_its_kind(generator: Generator, fault: str, via: str) -> None:
    workload, reply, handler, kind = FAULTS[fault]
    with serving(handler) as (_, port):
        timeout_s = {"timeout": SHORT_TIMEOUT_S, "not closed": REPLY_WITHIN_S}.get(kind, ENDS_WITHIN_S)
        outcome = run(generator, job((via, port), workload=workload, reply=reply, timeout_s=timeout_s))
    assert set(outcome.errors) == {kind}
    assert outcome.errors[kind] >= 4
    assert len(outcome.completed_ns) == len(outcome.latency_ns) == 0


def test_half_a_reply_and_then_a_whole_one_is_wrong_on_a_kept_connection(generator: Generator) -> None:
    def handler(connection: socket.socket) -> None:
        client = Connection(connection, connection.getpeername())
        connection.recv(4096)
        connection.sendall(REPLY[:9])
        client.wait_taken(ENDS_WITHIN_S)
        connection.sendall(REPLY)
        never(connection)

    with serving(handler) as address:
        outcome = run(generator, job(address, workload="keepalive"))
    assert set(outcome.errors) == {"wrong reply"}
    assert len(outcome.completed_ns) == 0


@pytest.mark.parametrize("workload", ["short", "keepalive"])
def test_a_mixture_is_told_apart(generator: Generator, workload: Literal["short", "keepalive"]) -> None:
    answered, wrong = itertools.count(), itertools.count()

    def handler(connection: socket.socket) -> None:
        while connection.recv(4096):
            if next(turns) % 5 == 4:
                connection.sendall(WRONG_BYTE)
                next(wrong)
                return
            connection.sendall(REPLY)
            next(answered)
            if workload == "short":
                return

    turns = itertools.count()
    with serving(handler) as address:
        # So many that the first reply of all is wrong for one of them.
        outcome = run(generator, job(address, workload=workload, concurrency=6))
    assert outcome.errors == {"wrong reply": next(wrong)}
    before_the_job = 5 if workload == "keepalive" else 0
    assert len(outcome.completed_ns) == len(outcome.latency_ns) == next(answered) - before_the_job > 0


def test_a_server_that_does_not_keep_connections_shows_under_keepalive(generator: Generator) -> None:
    with serving(sending(REPLY)) as address:
        the_job = job(address, workload="keepalive")
        *_, outcome = runs_until(lambda outcome: len(outcome.completed_ns) > 4, generator, the_job)
    assert len(outcome.completed_ns) > 4
    assert set(outcome.errors) <= {"closed early", "reset"}
    assert sum(outcome.errors.values()) > 4


@pytest.mark.parametrize("workload", ["short", "keepalive"])
def test_a_refusing_server_is_tried_again_with_pauses(
    generator: Generator, workload: Literal["short", "keepalive"]
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        the_job = job(bound.getsockname(), workload=workload)
        *_, outcome = runs_until(lambda outcome: outcome.errors["connect"] >= 8, generator, the_job)
    assert set(outcome.errors) == {"connect"}
    # Each place once at the start, then at most once a pause.
    slice_ns = outcome.ended_ns - outcome.started_ns
    assert 8 <= outcome.errors["connect"] <= 4 * (2 + slice_ns // PAUSE_NS)
    assert len(outcome.completed_ns) == 0


@pytest.mark.parametrize("workload", ["short", "keepalive"])
@VIA
def test_a_connection_that_nobody_accepts_ends_as_timeout(
    generator: Generator, workload: Literal["short", "keepalive"], via: str
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        target = (via, listener.getsockname()[1])
        outcome = run(generator, job(target, workload=workload, timeout_s=SHORT_TIMEOUT_S))
    assert set(outcome.errors) == {"timeout"}
    assert len(outcome.completed_ns) == 0


@pytest.mark.parametrize(
    ("workload", "via"), [("short", "127.0.0.1"), ("short", BEYOND_LOOPBACK), ("keepalive", "127.0.0.1")]
)
def test_a_handshake_that_takes_its_time_is_waited_for(
    generator: Generator, workload: Literal["short", "keepalive"], via: str
) -> None:
    """A queue of one is full before the first is accepted; the kernel tries the others again after a second."""
    handler = sending(REPLY) if workload == "short" else sending_each_time(REPLY)
    with serving(handler, backlog=0) as (_, port):
        outcome = run(generator, job((via, port), workload=workload, concurrency=6, timeout_s=30))
    assert outcome.errors == {}
    assert len(outcome.completed_ns) == len(outcome.latency_ns) >= 6


@VIA
def test_a_server_that_does_not_wait_for_the_request_gets_it_all_the_same(generator: Generator, via: str) -> None:
    requests = itertools.count()

    def handler(connection: socket.socket) -> None:
        connection.sendall(REPLY)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(4096):
            next(requests)

    with serving(handler) as (_, port):
        # So many that the first replies are there before the generator looks.
        outcome = run(generator, job((via, port), concurrency=100))
    assert outcome.errors == {}
    assert next(requests) == len(outcome.completed_ns) >= 100


def test_memory_does_not_grow_with_the_length_of_a_job(tmp_path: Path) -> None:
    """The times of a reply take 16 bytes; kept to the end of the job, and copied on their way, they would show."""
    [fast] = find("epoll_raw")
    with (
        Generator(None) as generator,
        ports.reserve("127.0.0.1") as address,
        Server(fast, ["-w", "1", "-k"], [address], tmp_path, "fast") as server,
    ):
        server.wait_ready()
        target, reply = ports.split(address), server.sample_reply()
        run(generator, job(target, workload="keepalive", reply=reply))
        before, replies, duration_s = peak_memory(generator), 0, 0.5
        while replies < 6 * TIMES_KEPT:
            duration_s *= 2
            outcome = run(generator, job(target, workload="keepalive", duration_s=duration_s, reply=reply))
            assert outcome.errors == {}
            replies = len(outcome.completed_ns)
            assert replies == len(outcome.latency_ns)
        grown = peak_memory(generator) - before
    assert grown <= 8 * 16 * TIMES_KEPT


def peak_memory(generator: Generator) -> int:
    """Return the most that it has ever used, in bytes."""
    status = Path(f"/proc/{generator.pid}/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kilobytes) * 1024


def test_no_generator_waits_until_another_is_done() -> None:
    """Its pipe holds less than the times of a long job, and who writes into a full one stands still."""

    class Leading(Generator):
        """Lets the other begin when its own outcome has been taken."""

        def take(self, timeout_s: float) -> Outcome | None:
            outcome = super().take(timeout_s)
            if outcome is not None:
                following.begin()
            return outcome

    with serving(sending(REPLY)) as address, Generator(None) as following, Leading(None) as leading:
        for one in (following, leading):
            one.prepare(job(address))
            one.wait_prepared(ENDS_WITHIN_S)
        leading.begin()
        outcomes = receive([following, leading], ENDS_WITHIN_S)
        for one in (following, leading):
            one.finish()
    assert outcomes[1].ended_ns <= outcomes[0].started_ns


@pytest.mark.parametrize("via", ["127.0.0.1", "::1", BEYOND_LOOPBACK])
def test_every_connection_ends_as_any_client_ends_it(generator: Generator, via: str) -> None:
    """Whether the generator closes a socket or connects it again, the server sees a new port, and no reset."""
    ends: list[bytes] = []
    ports_seen: list[int] = []

    def handler(connection: socket.socket) -> None:
        ports_seen.append(connection.getpeername()[1])
        connection.recv(4096)
        connection.sendall(REPLY)
        connection.shutdown(socket.SHUT_WR)
        ends.append(connection.recv(4096))  # raises when it is reset

    with serving(handler, host="::1" if via == "::1" else "127.0.0.1") as (_, port):
        outcomes = runs_until(lambda outcome: len(outcome.completed_ns) > 4, generator, job((via, port)))
    assert not any(outcome.errors for outcome in outcomes)
    assert set(ends) == {b""}
    assert len(ends) == sum(len(outcome.completed_ns) for outcome in outcomes)
    assert len(outcomes[-1].completed_ns) > 4
    assert all(one != other for one, other in itertools.pairwise(ports_seen))


def test_no_descriptors_left_is_an_error_of_its_kind() -> None:
    with Generator(None) as generator, serving(sending(REPLY)) as address:
        descriptors = len(list(Path(f"/proc/{generator.pid}/fd").iterdir()))
        resource.prlimit(generator.pid, resource.RLIMIT_NOFILE, (descriptors + 6, descriptors + 6))
        outcome = run(generator, job(address, concurrency=20))
    assert set(outcome.errors) == {"no socket"}
    assert len(outcome.completed_ns) > 0


def test_the_process_is_bound_to_its_cpu_and_has_no_numpy() -> None:
    cpu = max(os.sched_getaffinity(0))
    with Generator(cpu) as generator:
        assert os.sched_getaffinity(generator.pid) == {cpu}
        assert "numpy" not in Path(f"/proc/{generator.pid}/maps").read_text()


def test_a_cpu_that_is_not_there_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GeneratorFailed, match="on CPU 1023 has ended"):
        Generator(1023).start()
    assert "Invalid argument" in capfd.readouterr().err


def test_an_outcome_that_does_not_come_is_reported() -> None:
    late = pytest.raises(GeneratorFailed, match=r"gave no answer within 0\.1 s")
    with serving(never) as address, Generator(None) as generator, late:
        generator.run(job(address, timeout_s=60), 0.1)


def test_a_process_that_has_ended_is_reported() -> None:
    with Generator(None) as generator:
        os.kill(generator.pid, signal.SIGKILL)
        processes.wait_ended(generator.pid, ENDS_WITHIN_S)
        with pytest.raises(GeneratorFailed, match="has ended"):
            generator.prepare(job(("127.0.0.1", 1)))
        with pytest.raises(GeneratorFailed, match="has ended"):
            generator.receive(ENDS_WITHIN_S)


def test_stop_ends_the_process_in_the_middle_of_a_job() -> None:
    with serving(sending(REPLY)) as address:
        generator = Generator(None)
        generator.start()
        pid = generator.pid
        generator.prepare(job(address, duration_s=60))
        generator.wait_prepared(ENDS_WITHIN_S)
        generator.begin()
        generator.stop()
        assert processes.state(pid) is None
        generator.stop()


HARNESS = """
import signal, sys
from harness.loadgen import Generator, Job
generator = Generator(None)
generator.start()
if sys.argv[2] == "busy":
    target = ("127.0.0.1", int(sys.argv[1]))
    job = Job(workload="short", targets=[target], concurrency=4, duration_s=60, reply=b"x", timeout_s=60)
    generator.prepare(job)
    generator.wait_prepared(10)
    generator.begin()
print(generator.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_the_process_ends_when_the_harness_is_killed(state: str) -> None:
    with (
        serving(never) as (_, port),
        subprocess.Popen(
            [sys.executable, "-c", HARNESS, str(port), state], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as harness,
    ):
        try:
            assert harness.stdout is not None
            pid = int(harness.stdout.readline())
        finally:
            harness.kill()
        assert processes.wait_ended(pid, ENDS_WITHIN_S)
