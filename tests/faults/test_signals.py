"""Signals to the parent come at bad moments."""

import os
import signal
from pathlib import Path

import pytest

from harness import processes
from harness.conformance.backend import reply_to_the_end
from harness.conformance.cases.proxy_relay import LARGE, LARGE_TIMEOUT_S
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.worker import client_of, expect_workers, status_of, suspend
from harness.registry import Implementation
from harness.servers import REQUEST, Server

TWO = ("-w", "2", "--oversubscribe")
LONG = ("--grace", "30")
WITHIN_S = 5.0
MANY = 100
STEADY_LOOKS = 10
MORE_THAN_A_SOCKET_HOLDS = 500


def expect_end(server: Server, within_s: float = WITHIN_S) -> None:
    assert server.wait_ended(within_s), server.last_words()
    assert server.process_pids() == []
    assert server.stop() == 0


def exchange(client: Connection) -> None:
    client.send(REQUEST)
    client.receive_reply()


def settled(pids: list[int], clients: list[Connection]) -> list[int]:
    """Count the descriptors of processes when that number stays as it is though each worker has had turns meanwhile."""
    counts: list[list[int]] = []

    def unchanged() -> bool:
        for client in clients:
            exchange(client)
        counts.append([len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids])
        return counts[-STEADY_LOOKS:] == counts[-1:] * STEADY_LOOKS

    assert processes.wait_until(unchanged, WITHIN_S, every_s=0.05)
    return counts[-1]


def is_pending(server: Server, number: signal.Signals) -> bool:
    """Tell whether the parent has still to take a signal: until then another one of that number adds nothing."""
    pending = int(status_of(Path(f"/proc/{server.pid}/status"))["ShdPnd"], 16)
    return bool(pending >> number - 1 & 1)


def test_sigterm_comes_while_many_clients_wait_for_two_busy_workers__each_of_them_is_answered(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start([*TWO, *LONG])
        workers = expect_workers(subject, server, 2)
        for worker in workers:
            suspend(worker)
        clients = [subject.connect(server.listen[0]) for _ in range(MANY)]
        for client in clients[: MANY // 2]:
            client.send(REQUEST)
        server.send_signal(signal.SIGTERM)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for client in clients[MANY // 2 :]:
            client.send(REQUEST)
        for client in clients:
            client.receive_reply("a reply to a client that came before SIGTERM")
            client.expect_end("after the reply")
        expect_end(server)


def test_sigterm_comes_within_a_large_reply__the_reply_arrives_whole(impl: Implementation, tmp_path: Path) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        backend = subject.backend(["127.0.0.1"])
        server = subject.start(["-w", "1", *LONG, "-x", backend.address])
        client, call = subject.connect(server.listen[0], small_buffers=True), subject.call([backend])
        client.send(call.request())
        of_backend = call.accept(client)
        reply = reply_to_the_end(LARGE)
        sent = of_backend.send_what_fits(reply, patience_s=0.2)
        assert sent < len(reply)
        server.send_signal(signal.SIGTERM)
        client.expect(reply[:sent], "what came before the signal", LARGE_TIMEOUT_S)
        of_backend.send(reply[sent : sent + 1000])
        of_backend.end()
        client.expect(reply[sent : sent + 1000], "what came after the signal")
        client.expect_end("after the reply")
        expect_end(server)


def test_sigterm_comes_while_a_worker_is_stopped__it_is_ended_when_the_grace_is_over(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--grace", "0.5"])
        [worker] = expect_workers(subject, server, 1)
        suspend(worker)
        server.send_signal(signal.SIGTERM)
        expect_end(server)


def test_sigint_comes_twice_while_a_worker_is_stopped__all_end_at_once(impl: Implementation, tmp_path: Path) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", *LONG])
        [worker] = expect_workers(subject, server, 1)
        suspend(worker)
        server.send_signal(signal.SIGINT)
        assert processes.wait_until(lambda: not is_pending(server, signal.SIGINT), WITHIN_S)
        assert not server.wait_ended(0.3)
        server.send_signal(signal.SIGINT)
        expect_end(server)


def test_sigterm_comes_after_a_worker_was_replaced__the_others_end_without_waiting_for_the_grace(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start([*TWO, *LONG])
        victim, spared = expect_workers(subject, server, 2)
        os.kill(victim, signal.SIGKILL)
        assert processes.wait_until(lambda: len(set(server.worker_pids()) - {victim, spared}) == 1, WITHIN_S)
        expect_workers(subject, server, 2)
        server.send_signal(signal.SIGTERM)
        expect_end(server)


def test_sigterm_comes_while_a_worker_waits_to_be_replaced__the_server_ends_at_once(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", *LONG])
        for _ in range(4):  # so that the next pause takes a while
            assert processes.wait_until(lambda: len(server.worker_pids()) == 1, WITHIN_S)
            [worker] = server.worker_pids()
            os.kill(worker, signal.SIGKILL)
            assert processes.wait_ended(worker, WITHIN_S)
        server.send_signal(signal.SIGTERM)
        expect_end(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_end_reaches_all_processes_as_from_a_terminal__what_is_under_way_is_finished(
    number: signal.Signals, impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        backend = subject.backend(["127.0.0.1"])
        server = subject.start(["-w", "1", *LONG, "-x", backend.address])
        client, call = subject.connect(server.listen[0]), subject.call([backend])
        client.send(call.request())
        of_backend = call.accept(client)
        os.killpg(server.pid, number)
        assert not server.wait_ended(0.3)
        of_backend.send(reply_to_the_end())
        of_backend.end()
        client.expect(reply_to_the_end(), "the reply to what was under way")
        expect_end(server)


def test_sighup_comes_a_hundred_times_under_load__no_request_and_no_descriptor_is_lost(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start([*TWO, "-k"])
        workers = expect_workers(subject, server, 2)
        clients = [client_of(subject, server, worker, workers) for worker in workers]
        all_pids = [server.pid, *workers]
        before = settled(all_pids, clients)
        for _ in range(100):
            server.send_signal(signal.SIGHUP)
            for client in clients:
                exchange(client)
        assert settled(all_pids, clients) == before
        assert server.worker_pids() == workers


def test_sighup_comes_more_often_than_a_stopped_worker_can_be_told__it_writes_to_the_new_log_when_it_goes_on(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-k", "-d"])
        [worker] = expect_workers(subject, server, 1)
        client = subject.connect(server.listen[0])
        exchange(client)
        suspend(worker)
        for _ in range(MORE_THAN_A_SOCKET_HOLDS):
            server.log_path.rename(tmp_path / "old")
            server.send_signal(signal.SIGHUP)
            assert processes.wait_until(server.log_path.exists, WITHIN_S, every_s=0.0005)
        os.kill(worker, signal.SIGCONT)

        def written() -> bool:
            exchange(client)
            return "write" in server.log_text()

        assert processes.wait_until(written, WITHIN_S)


def test_signals_come_in_every_order_at_once__the_server_ends_with_status_0(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start([*TWO, *LONG])
        expect_workers(subject, server, 2)
        for number in (signal.SIGHUP, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT, signal.SIGTERM):
            server.send_signal(number)
        expect_end(server)
