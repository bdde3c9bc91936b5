"""Workers die in every way; their parent goes on, and so do the others."""

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness import processes
from harness.conformance.backend import reply_with_length
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.worker import client_of, expect_workers, highest_descriptor, suspend
from harness.registry import Implementation
from harness.servers import REQUEST, Server
from tests.faults.broken import broken, without_processes_while

TWO = ("-w", "2", "--oversubscribe")
WITHIN_S = 5.0
GIVEN_UP_WITHIN_S = 15.0
MORE_TRIES_THAN_DEATHS = 6
"""With so many deaths in a row a server gives up."""
REAL_TIME = signal.SIGRTMIN + 6
"""One without a name."""


@contextmanager
def exchanging(clients: list[Connection]) -> Iterator[list[int]]:
    """Exchange on connections all the time, in threads; the list counts the replies of each."""
    replies = [0] * len(clients)
    stopped = threading.Event()
    problems: list[Exception] = []

    def exchange(number: int) -> None:
        try:
            while not stopped.is_set():
                clients[number].send(REQUEST)
                clients[number].receive_reply()
                replies[number] += 1
        except Exception as problem:  # noqa: BLE001  whatever it is, the test has to know
            problems.append(problem)

    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    try:
        yield replies
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert not problems


def replaced(server: Server, pids: list[int]) -> bool:
    running = server.worker_pids()
    return len(running) == len(pids) and not set(pids) & set(running)


def one_beside(server: Server, spared: int, dead: int) -> bool:
    running = set(server.worker_pids())
    return spared in running and len(running - {spared, dead}) == 1


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  a count is all that is wanted


def all_grew(before: list[int], now: list[int]) -> bool:
    return all(after > earlier for earlier, after in zip(before, now, strict=True))


def has_started(server: Server) -> bool:
    """Tell whether the parent has come to its first line of statistics: what it starts workers with is closed then."""
    return any(line.startswith("Request/s ") for line in server.stderr_lines())


def said(server: Server, text: str) -> bool:
    return text in server.log_text() and any(text in line for line in server.stderr_lines())


def test_a_worker_is_killed_with_9_again_and_again_under_load__connections_of_the_others_lose_no_request(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start([*TWO, "-k"])
        first = expect_workers(subject, server, 2)
        spared = first[1]
        clients = [client_of(subject, server, spared, first) for _ in range(3)]
        with exchanging(clients) as replies:
            for _ in range(3):
                [victim] = set(server.worker_pids()) - {spared}
                before = list(replies)
                os.kill(victim, signal.SIGKILL)
                assert processes.wait_until(partial(one_beside, server, spared, victim), WITHIN_S)
                assert processes.wait_until(partial(all_grew, before, replies), WITHIN_S)
        assert spared in server.worker_pids()


def test_all_workers_are_killed_with_9__clients_that_come_meanwhile_wait_and_are_served(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(TWO)
        pids = expect_workers(subject, server, 2)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        clients = [subject.connect(server.listen[0]) for _ in range(10)]
        for client in clients:
            client.send(REQUEST)
        for client in clients:
            client.receive_reply("a reply to a client that came while there was no worker")
        assert processes.wait_until(lambda: replaced(server, pids), WITHIN_S)


def test_a_worker_of_a_proxy_is_killed_with_9__exchanges_of_the_others_are_finished(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        backend = subject.backend(["127.0.0.1"])
        server = subject.start([*TWO, "-x", backend.address])
        assert processes.wait_until(lambda: len(server.worker_pids()) == 2, WITHIN_S)
        victim, spared = server.worker_pids()
        suspend(victim)
        client, call = subject.connect(server.listen[0]), subject.call([backend])
        client.send(call.request())
        of_spared = call.accept(client)
        os.kill(victim, signal.SIGKILL)
        assert processes.wait_until(partial(one_beside, server, spared, victim), WITHIN_S)
        of_spared.send(reply_with_length())
        client.expect(reply_with_length(), "a reply through the worker that was not killed")
        client.expect_end("after the reply")


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT"), (REAL_TIME, f"signal {REAL_TIME}")]
)
def test_a_worker_is_ended_by_a_signal__the_log_and_standard_error_name_it(
    number: int, name: str, reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1"])
        [worker] = expect_workers(subject, server, 1)
        os.kill(worker, number)
        assert processes.wait_until(lambda: said(server, f"(process {worker}) was killed by {name}"), WITHIN_S)
        assert processes.wait_until(lambda: replaced(server, [worker]), WITHIN_S)
        subject.exchange(server.listen[0])


def test_the_server_was_started_with_sigchld_ignored__a_worker_that_dies_is_replaced_and_the_cause_is_told(
    reference: Implementation, tmp_path: Path
) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    with Subject(
        replace(reference, argv=(sys.executable, "-c", ignoring, *reference.argv)), (), tmp_path, None
    ) as subject:
        server = subject.start(["-w", "1"])
        [worker] = expect_workers(subject, server, 1)
        os.kill(worker, signal.SIGKILL)
        assert processes.wait_until(lambda: said(server, f"(process {worker}) was killed by SIGKILL"), WITHIN_S)
        assert processes.wait_until(lambda: replaced(server, [worker]), WITHIN_S)
        subject.exchange(server.listen[0])
        assert server.stop() == 0


def test_a_worker_dies_while_its_parent_has_no_file_left__it_is_replaced_when_there_is_room(
    reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1"])
        [worker] = expect_workers(subject, server, 1)
        assert processes.wait_until(partial(has_started, server), WITHIN_S)
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (highest_descriptor(server.pid) + 1, limits[1]))
        os.kill(worker, signal.SIGKILL)
        assert processes.wait_until(lambda: said(server, "could not be started: Too many open files"), WITHIN_S)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        assert processes.wait_until(lambda: replaced(server, [worker]), WITHIN_S)
        subject.exchange(server.listen[0])


def test_workers_die_one_after_another__their_parent_keeps_no_descriptor_of_theirs(
    reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1"])
        expect_workers(subject, server, 1)
        assert processes.wait_until(partial(has_started, server), WITHIN_S)
        before = descriptors(server.pid)
        for _ in range(3):
            [worker] = server.worker_pids()
            os.kill(worker, signal.SIGKILL)
            assert processes.wait_until(partial(replaced, server, [worker]), WITHIN_S)
        subject.exchange(server.listen[0])
        assert processes.wait_until(lambda: descriptors(server.pid) == before, WITHIN_S)


def test_no_process_can_be_started_for_a_while__the_other_worker_serves_on_and_a_second_one_comes_when_it_can(
    tmp_path: Path,
) -> None:
    tries = tmp_path / "tries"
    with Subject(without_processes_while(tries), (), tmp_path, None) as subject:
        server = subject.start(TWO)
        victim, spared = expect_workers(subject, server, 2)
        tries.touch()
        began_s = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        assert processes.wait_until(lambda: tries.stat().st_size > MORE_TRIES_THAN_DEATHS, GIVEN_UP_WITHIN_S)
        told = [line for line in server.stderr_lines() if "could not be started" in line]
        assert 1 <= len(told) <= 1 + time.monotonic() - began_s
        subject.exchange(server.listen[0])
        tries.unlink()
        assert processes.wait_until(partial(one_beside, server, spared, victim), WITHIN_S)
        subject.exchange(server.listen[0])
        assert server.stop() == 0


def test_no_process_can_be_started_and_no_worker_is_left__the_server_ends_with_one_clear_line_and_status_1(
    tmp_path: Path,
) -> None:
    tries = tmp_path / "tries"
    with Subject(without_processes_while(tries), (), tmp_path, None) as subject:
        server = subject.start(TWO)
        workers = expect_workers(subject, server, 2)
        tries.touch()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert server.wait_ended(GIVEN_UP_WITHIN_S)
        assert server.stop() == 1
        assert "could not be started: Resource temporarily unavailable, and for 3.1 s" in server.last_words(1)
        assert tries.stat().st_size > len(workers)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("return", "error: serve() has returned without being told to stop"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
    ],
)
def test_a_worker_dies_at_once_again_and_again__the_server_ends_with_one_clear_line_and_status_1(
    code: str, cause: str, tmp_path: Path
) -> None:
    with Subject(broken(code), (), tmp_path, None) as subject:
        finished = subject.run(["-w", "1"], [subject.reserve()])
        log = (tmp_path / "server-1.log").read_text()
    assert finished.status == 1
    assert finished.left_running == 0
    assert log.count(cause) >= 6
    assert [line for line in finished.stderr if "given up" in line] == finished.stderr[-1:]
    assert finished.stderr[-1].startswith("impls.broken: error: worker 0 (process ")


def test_one_of_two_workers_dies_at_once_again_and_again__the_other_serves_until_the_server_gives_up(
    tmp_path: Path,
) -> None:
    code = "worker.index or os._exit(3); from impls.epoll_raw.server import serve as go; go(worker)"
    with Subject(broken(code), (), tmp_path, None) as subject:
        server = subject.start(TWO)
        subject.exchange(server.listen[0])
        assert processes.wait_until(lambda: "in 0.4 s" in "\n".join(server.stderr_lines()), WITHIN_S)
        subject.exchange(server.listen[0])
        assert server.wait_ended(GIVEN_UP_WITHIN_S)
        assert server.stop() == 1
        assert "worker 0" in server.last_words(1)
        assert "ended with status 3" in server.last_words(1)
