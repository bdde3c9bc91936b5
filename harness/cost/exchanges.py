"""The requests of each workload, in steps: the harness is the client, and behind a proxy the backend."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from harness import processes
from harness.cost.wire import Wire
from harness.cost.workers import Workers
from harness.loadgen import dated
from harness.servers import REQUEST, ServerFailed
from harness.testbed import Host

TIMEOUT_S = 10.0
"""A proxy's first reply waits for its start."""
BACKEND_REPLY = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nOK\n"
_POLL_S = 0.0002
_CLOSED = 7
"""TCP_CLOSE in the kernel's include/net/tcp_states.h, the first byte of tcp_info."""


class Exchange(Protocol):
    """Some requests at a time, again and again."""

    requests: int
    """How many."""
    holds: int
    """How often the server is held for them."""

    def go(self) -> None:
        """Make them, and wait until the server sleeps again. Raises OSError, TimeoutError too, and ServerFailed."""


class Idle:
    """No request: what a hold takes by itself, as a library that looks around when its poll is interrupted."""

    requests, holds = 0, 1

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def go(self) -> None:
        """Hold the server, and let it go."""
        with self._workers.held():
            pass
        self._workers.wait_asleep()


class Short:
    """Connections for one request each."""

    holds = 1

    def __init__(
        self, requests: int, target: tuple[str, int], host: Host, reply: bytes, wire: Wire, workers: Workers
    ) -> None:
        self.requests = requests
        self._target = target
        self._host = host
        self._reply = reply
        self._wire = wire
        self._workers = workers

    def go(self) -> None:
        """Connect and send while the server is held; then it answers all."""
        with ExitStack() as stack:
            clients = [stack.enter_context(client_of(self._host)) for _ in range(self.requests)]
            with self._workers.held():
                for client in clients:
                    client.connect(self._target)
                    client.sendall(REQUEST)
                self._wire.wait_arrived()
            for client in clients:
                _take(client, self._reply)
            for client in clients:
                _end(client)
            self._workers.wait_asleep()


class Keepalive:
    """Kept connections, and a request on each."""

    holds = 1

    def __init__(self, clients: Sequence[socket.socket], reply: bytes, wire: Wire, workers: Workers) -> None:
        """``clients`` are connected."""
        self.requests = len(clients)
        self._clients = clients
        self._reply = reply
        self._wire = wire
        self._workers = workers

    def go(self) -> None:
        """Send while the server is held; then it answers all."""
        for client in self._clients:
            # As under load, a reply is acknowledged with the next request: after a pause of some time, as a busy
            # machine makes one, the kernel would do so at once (TCP_QUICKACK in tcp(7)).
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        with self._workers.held():
            for client in self._clients:
                client.sendall(REQUEST)
            self._wire.wait_arrived()
        for client in self._clients:
            _take(client, self._reply, ends=False)
        self._workers.wait_asleep()


class Proxy:
    """One connection through a relay at a time, for one request."""

    requests, holds = 1, 2

    def __init__(
        self, target: tuple[str, int], host: Host, backend: socket.socket, wire: Wire, workers: Workers
    ) -> None:
        """``backend`` listens."""
        self._target = target
        self._host = host
        self._backend = backend
        self._wire = wire
        self._workers = workers

    def go(self) -> None:
        """Send the request while the proxy is held, and the reply, with the end of its stream, likewise."""
        with client_of(self._host) as client:
            with self._workers.held():
                client.connect(self._target)
                client.sendall(REQUEST)
                self._wire.wait_arrived()
            with _accepted(self._backend) as connection:
                _take(connection, REQUEST, ends=False)
                self._workers.wait_asleep()
                with self._workers.held():
                    connection.sendall(BACKEND_REPLY)
                    connection.close()
                    self._wire.wait_arrived()
            _take(client, BACKEND_REPLY)
            _end(client)
            self._workers.wait_asleep()


def client_of(host: Host) -> socket.socket:
    """Make a socket of the client. Raises OSError."""
    client = host.socket()
    client.settimeout(TIMEOUT_S)
    return client


def _accepted(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT_S)
    return connection


def _take(connection: socket.socket, expected: bytes, *, ends: bool = True) -> None:
    """Receive what is due, with any date, and the end of the stream where it ``ends``.

    Raises OSError and ServerFailed.
    """
    received = b""
    while len(received) < len(expected):
        piece = connection.recv(len(expected) - len(received))
        if not piece:
            break
        received += piece
    whole = len(received) == len(expected) and dated.agrees(received, 0, expected, dated.date_in(expected))
    if not whole or (ends and connection.recv(1)):
        raise ServerFailed(f"received {received[:60]!r} where {expected[:60]!r} was due")


def _end(client: socket.socket) -> None:
    """End the stream of a client whose server has ended its own, and wait until the server's host knows it.

    The connection is closed when the last segment, which acknowledges the client's end, has arrived.
    """
    client.shutdown(socket.SHUT_WR)
    if not processes.wait_until(
        lambda: client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED, TIMEOUT_S, every_s=_POLL_S
    ):
        raise TimeoutError("the end of a connection is not acknowledged")
