"""Servers for the tests of the generator, each of which does one thing, right or wrong."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LARGE_REPLY = REPLY + bytes(range(256)) * 8192
BEYOND_LOOPBACK = "0.0.0.0"  # noqa: S104  nobody binds it
"""Another name for this host, which the generator does not know as such: it gives the handshake its time."""

Handler = Callable[[socket.socket], None]
"""Has one connection to itself; it is closed afterwards."""


@contextmanager
def serving(handler: Handler, host: str = "127.0.0.1", backlog: int = 128) -> Iterator[tuple[str, int]]:
    """Run a server with a thread for each connection, and end all of them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        # A client that gives up is what some of the tests are about.
        with connection, suppress(ConnectionError):
            handler(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut down below
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=[connection]))
            threads[-1].start()

    with socket.create_server((host, 0), family=family, backlog=backlog) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in connections:
                with suppress(OSError):  # it has ended already
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def sending(*parts: bytes) -> Handler:
    """Answer one request with these segments, and close."""

    def handler(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(4096)
        for part in parts:
            connection.sendall(part)

    return handler


def sending_each_time(*parts: bytes) -> Handler:
    """Answer each request with these segments."""

    def handler(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(4096):
            for part in parts:
                connection.sendall(part)

    return handler


def reset(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reply_then_reset(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(REPLY)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def never(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass
