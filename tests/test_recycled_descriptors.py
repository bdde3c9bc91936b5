"""A descriptor that is given out anew never gets what was meant for its predecessor: each client gets its own reply.

The worker is held while connections end, others ask and new ones come, so all of it is one batch of events for it.
"""

import socket
import struct
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import ports
from tests.held_worker import TIMEOUT_S, held, worker_of
from tests.peers import serving

CLIENTS, ROUNDS = 24, 2
RESET = struct.pack("ii", 1, 0)


def connected(stack: ExitStack, address: tuple[str, int]) -> socket.socket:
    client = stack.enter_context(socket.create_connection(address, TIMEOUT_S))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return client


def everything(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65536):
        received += data
    return received


@pytest.mark.parametrize("name", ["epoll_raw", "epoll_raw+lean"])
@pytest.mark.parametrize("flags", [[], ["-k"]], ids=["short", "keepalive"])
def test_a_server_answers_each_that_asks_once(name: str, flags: list[str], tmp_path: Path) -> None:
    with worker_of(name, flags, tmp_path) as (address, worker), ExitStack() as stack:
        probe = connected(stack, address)
        probe.sendall(b"?")
        reply = probe.recv(4096)
        for _ in range(ROUNDS):
            clients = [connected(stack, address) for _ in range(CLIENTS)]
            with held(worker):
                for client in clients[::3]:
                    client.close()
                asking = [*clients[1::3], *clients[2::3], *(connected(stack, address) for _ in range(CLIENTS))]
                for client in asking:
                    client.sendall(b"?")
                    client.shutdown(socket.SHUT_WR)
            assert [everything(client) for client in asking] == [reply] * len(asking)


@pytest.mark.parametrize("name", ["epoll_raw", "epoll_raw+lean"])
def test_a_proxy_gives_each_the_reply_to_its_own_request(name: str, tmp_path: Path) -> None:
    arrived, answered = threading.Semaphore(0), threading.Semaphore(0)
    may_answer = threading.Event()

    def backend(connection: socket.socket) -> None:
        request = connection.recv(4096)
        arrived.release()
        may_answer.wait(TIMEOUT_S)
        if request.startswith(b"reset"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request), request))
        connection.close()
        answered.release()

    def ask(client: socket.socket, number: int) -> bytes:
        request = b"%b %d" % (b"reset" if number % 4 == 1 else b"answer", number)
        client.sendall(request)
        return request

    with ExitStack() as stack:
        host, port = stack.enter_context(serving(backend))
        address, worker = stack.enter_context(worker_of(name, ["-x", ports.join(host, port)], tmp_path))
        for _ in range(ROUNDS):
            may_answer.clear()
            clients = [connected(stack, address) for _ in range(CLIENTS)]
            requests = {client: ask(client, number) for number, client in enumerate(clients)}
            assert all(arrived.acquire(timeout=TIMEOUT_S) for _ in clients)
            with held(worker):
                may_answer.set()
                assert all(answered.acquire(timeout=TIMEOUT_S) for _ in clients)
                for client in clients[::3]:
                    del requests[client]
                    client.close()
                for number in range(CLIENTS):
                    client = connected(stack, address)
                    requests[client] = ask(client, CLIENTS + number)
            for client, request in requests.items():
                reply = everything(client)
                assert reply.endswith(b"\r\n\r\n" + request) or (request.startswith(b"reset") and b" 502 " in reply)
            assert all(arrived.acquire(timeout=TIMEOUT_S) for _ in range(CLIENTS))
            assert all(answered.acquire(timeout=TIMEOUT_S) for _ in range(CLIENTS))
