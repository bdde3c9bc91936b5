"""Limits: connections that carry nothing, more clients than there is room for, and descriptors that run out."""

import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from harness import ports, processes
from harness.registry import Implementation
from harness.servers import REQUEST
from tests.faults.limited import TIMEOUT_S, Running, exchange, failing, file_limit, mode_of, reply_to, running
from tests.held_worker import held
from tests.peers import serving

IDLE_S = 1.5
"""Longer than a busy machine holds up this process, whose clients would be idle then."""
MOST = 4
WAITING = 40
MODES: dict[str, list[str]] = {"short": [], "keepalive": ["-k"], "proxy": ["-x"], "kept proxy": ["-k", "-x"]}
SLOW_BUFFER_BYTES = 65536
WATCHED_S = 0.5
MOST_BUSY_S = 0.15
"""CPU time of a worker that waits, in WATCHED_S; one that does not wait takes all of it."""

each_mode = pytest.mark.modes(*MODES, others=("short", "kept proxy"), lean=("short", "proxy"))
proxies = pytest.mark.modes("proxy", "kept proxy", others=("kept proxy",), lean=("proxy",))
kept = pytest.mark.modes("keepalive", "kept proxy", others=("keepalive", "kept proxy"), lean=())


@contextmanager
def started(impl: Implementation, mode: str, flags: Sequence[str], folder: Path) -> Iterator[Running]:
    with mode_of(MODES[mode]) as mode_flags, running(impl, [*flags, *mode_flags], folder) as up:
        yield up


def has_ended(client: socket.socket) -> bool:
    """Tell whether the other end has closed; what it sent before is read and forgotten."""
    with suppress(ConnectionError):
        while select.select([client], [], [], 0)[0]:
            if not client.recv(1 << 20):
                return True
        return False
    return True


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def expect_waiting(up: Running, clients: Sequence[socket.socket]) -> None:
    """See that nothing comes to these clients for a while, not even an end, and that the worker sleeps."""
    before_s = cpu_s(up.worker)
    arrived, _, _ = select.select(clients, [], [], WATCHED_S)
    assert not arrived
    assert cpu_s(up.worker) - before_s < MOST_BUSY_S


def many(connect: Callable[[], socket.socket], count: int, stack: ExitStack) -> list[socket.socket]:
    return [stack.enter_context(connect()) for _ in range(count)]


def serve_one_by_one(clients: list[socket.socket]) -> None:
    """Have each of those that have asked get its reply; whoever has it goes, which makes room for others."""
    left = set(clients)
    until_s = time.monotonic() + TIMEOUT_S
    while left:
        ready, _, _ = select.select(list(left), [], [], until_s - time.monotonic())
        assert ready, f"{len(left)} of {len(clients)} clients got no reply"
        for client in ready:
            assert b" 200 " in reply_to(client)
            client.close()
            left.remove(client)


# Connections that carry nothing


@each_mode
def test_many_clients_say_nothing__each_is_closed_after_the_idle_timeout_and_counted_while_another_is_served(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    with started(impl, mode, ["--idle-timeout", str(IDLE_S)], tmp_path) as up, ExitStack() as stack:
        before_s = time.monotonic()
        clients = many(up.connect, WAITING, stack)
        busy = stack.enter_context(up.connect())
        gone: set[socket.socket] = set()
        first_s = None
        while len(gone) < len(clients):
            assert time.monotonic() < before_s + TIMEOUT_S, f"{len(clients) - len(gone)} are still open"
            assert b" 200 " in exchange(busy)
            if "-k" not in MODES[mode]:
                busy.close()
                busy = stack.enter_context(up.connect())
            gone |= {client for client in clients if client not in gone and has_ended(client)}
            if gone and first_s is None:
                first_s = time.monotonic() - before_s
        busy.close()
        assert first_s is not None
        lean_s = 1.0 if "lean" in impl.name else 0.0  # a lean listener keeps who says nothing for so long
        assert first_s > (IDLE_S + lean_s) * 0.8
        assert up.count_in_the_end("idle") == len(clients)


def test_a_client_pipelines_and_reads_no_reply__it_is_closed_and_nothing_of_it_is_kept(
    impl: Implementation, tmp_path: Path
) -> None:
    requests = REQUEST * 10_000
    with started(impl, "keepalive", ["--idle-timeout", str(IDLE_S)], tmp_path) as up, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(up.address)
        client.settimeout(0)
        until_s = time.monotonic() + TIMEOUT_S
        with suppress(ConnectionError):
            while not up.count("idle"):
                assert time.monotonic() < until_s, "it is still open"
                with up.connect() as other:
                    assert b" 200 " in exchange(other)
                with suppress(BlockingIOError):
                    while client.send(requests):
                        pass
        assert processes.wait_until(lambda: up.count("idle") == 1 and up.connections() == 0, TIMEOUT_S)


@proxies
def test_a_client_reads_a_large_reply_so_slowly_that_buffers_stay_full__it_gets_all_of_it(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    body = bytes(range(256)) * (1 << 16)
    reply = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def backend(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(reply)
        connection.recv(1)

    with serving(backend) as (host, port), ExitStack() as stack:
        flags = [*(["-k"] if mode == "kept proxy" else []), "-x", ports.join(host, port)]
        up = stack.enter_context(running(impl, ["--idle-timeout", str(IDLE_S), *flags], tmp_path))
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        client.settimeout(TIMEOUT_S)
        client.connect(up.address)
        client.sendall(REQUEST)
        received = bytearray()
        slow_until_s = time.monotonic() + 2 * IDLE_S
        while time.monotonic() < slow_until_s:
            received += client.recv(SLOW_BUFFER_BYTES)
            time.sleep(0.1)  # the pace is what is tried
        while len(received) < len(reply):
            data = client.recv(1 << 20)
            assert data, f"it ended after {len(received)} of {len(reply)} bytes"
            received += data
        assert received == reply
        assert up.count_in_the_end("idle") == 0


# More clients than there is room for


def hold(up: Running, mode: str, count: int, stack: ExitStack) -> list[socket.socket]:
    """Have so many clients accepted that then do nothing."""
    before = up.connections()
    clients = many(up.connect, count, stack)
    if "-k" in MODES[mode]:
        assert all(b" 200 " in exchange(client) for client in clients)
    # A lean listener keeps who says nothing from the worker for a second.
    assert processes.wait_until(lambda: up.connections() - before >= count, TIMEOUT_S)
    return clients


@each_mode
def test_more_clients_come_than_max_connections__they_wait_without_cost_and_all_are_served(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    with started(impl, mode, ["--max-connections", str(MOST)], tmp_path) as up, ExitStack() as stack:
        holders = hold(up, mode, MOST, stack)
        clients = many(up.connect, WAITING, stack)
        for client in clients:
            client.sendall(REQUEST)
        expect_waiting(up, clients)
        assert up.connections() == MOST
        for holder in holders:
            holder.close()
        serve_one_by_one(clients)
        assert up.count_in_the_end("full") > 0


@kept
def test_clients_come_all_at_once_when_there_is_room_for_one__one_is_accepted(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    with started(impl, mode, ["--max-connections", str(MOST)], tmp_path) as up, ExitStack() as stack:
        holders = hold(up, mode, MOST - 1, stack)
        with held(up.worker):
            for holder in holders:
                holder.sendall(REQUEST)
            clients = many(up.connect, WAITING, stack)
            for client in clients:
                client.sendall(REQUEST)
        assert all(b" 200 " in reply_to(holder) for holder in holders)
        first, _, _ = select.select(clients, [], [], TIMEOUT_S)
        assert len(first) == 1
        assert b" 200 " in reply_to(first[0])
        expect_waiting(up, [client for client in clients if client not in first])
        assert up.connections() <= MOST


@each_mode
def test_the_worker_has_no_descriptor_left__clients_wait_without_cost_and_all_are_served(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    with started(impl, mode, [], tmp_path) as up, ExitStack() as stack:
        hold(up, mode, 1, stack)
        with file_limit(up.worker, MOST):
            holders = many(up.connect, 2 * MOST, stack)
            assert processes.wait_until(lambda: up.count("full") == 1, TIMEOUT_S)
            clients = many(up.connect, WAITING, stack)
            for client in clients:
                client.sendall(REQUEST)
            expect_waiting(up, clients)
            for holder in holders:
                holder.close()
            serve_one_by_one(clients)


@each_mode
def test_the_machine_can_open_no_more_files__clients_wait_without_cost_and_all_are_served(
    impl: Implementation, mode: str, tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    strace = tool("strace", "strace")
    with started(impl, mode, [], tmp_path) as up, ExitStack() as stack:
        with failing(strace, up.worker, "accept4", "ENFILE", tmp_path):
            clients = many(up.connect, WAITING, stack)
            for client in clients:
                client.sendall(REQUEST)
            assert processes.wait_until(lambda: up.count("full") == 1, TIMEOUT_S)
            expect_waiting(up, clients)
        serve_one_by_one(clients)


@proxies
def test_there_is_no_descriptor_for_a_backend_s_connection__the_request_waits_for_one(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    with started(impl, mode, ["--connect-timeout", str(TIMEOUT_S)], tmp_path) as up, ExitStack() as stack:
        before = up.connections()
        clients = many(up.connect, MOST, stack)
        assert processes.wait_until(lambda: up.connections() - before >= MOST, TIMEOUT_S)
        with file_limit(up.worker, 0):
            for client in clients:
                client.sendall(REQUEST)
            assert processes.wait_until(lambda: up.count("full") > 0, TIMEOUT_S)
            arrived, _, _ = select.select(clients, [], [], 0)
            assert all(b" 200 " in reply_to(client) for client in arrived)  # a worker may have some in reserve
        serve_one_by_one([client for client in clients if client not in arrived])


@kept
def test_the_order_to_stop_comes_while_there_is_no_room__those_who_wait_are_served_first(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    flags = ["--max-connections", "1", "--grace", str(TIMEOUT_S)]
    with started(impl, mode, flags, tmp_path) as up, ExitStack() as stack:
        hold(up, mode, 1, stack)
        clients = many(up.connect, MOST, stack)
        for client in clients:
            client.sendall(REQUEST)
        up.server.send_signal(signal.SIGTERM)
        serve_one_by_one(clients)
        assert up.server.wait_ended(TIMEOUT_S / 2)
        assert up.server.stop() == 0
