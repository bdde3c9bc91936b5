"""Backends that cases play: one listener, shared by cases that run side by side.

A proxy cannot tell the cases apart, so each request begins with a word that only one case uses (``Call.word``).
A thread reads that much of every connection, and hands it to the case whose word it is.
"""

import queue
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from harness import ports
from harness.conformance import sock_diag
from harness.conformance.connection import PATIENCE_S, SMALL_BUFFER_BYTES, SMALL_SEGMENT_BYTES, Connection
from harness.conformance.violation import ContractViolation

_WORD_BYTES = 20
_LOOK_EVERY_S = 0.05
_BACKLOG = 1024
_BODY = b"answered by the backend \x00\xff\r\n\r\n"


def reply_with_length(body: bytes = _BODY) -> bytes:
    """Make a backend's reply that says how long it is."""
    return b"HTTP/1.1 200 OK\r\nX-Case: percore\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def reply_to_the_end(body: bytes = _BODY) -> bytes:
    """Make a backend's reply that lasts until the end of the stream."""
    return b"HTTP/1.0 200 OK\r\nX-Case: percore\r\n\r\n%b" % body


class Call:
    """A case's side of an exchange through the proxy: what to send, and where it comes out."""

    def __init__(self) -> None:
        self.word = f"PUT /{secrets.token_hex(7)} ".encode()
        self._accepted: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._taken: list[Connection] = []

    def request(self, body: bytes = b"percore") -> bytes:
        """Make an HTTP request that the proxy's backend gives to this call."""
        return b"%bHTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (self.word, len(body), body)

    def accept(self, client: Connection) -> Connection:
        """Take the connection that the proxy made for the client's request; the request is still to be received."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._taken.append(self._accepted.get(timeout=_LOOK_EVERY_S))
            except queue.Empty:
                seen = client.unexpected()
                if seen or time.monotonic() > deadline:
                    instead = f"at the client {seen}" if seen else f"nothing in {PATIENCE_S:g} s"
                    raise ContractViolation("the request at the backend", instead) from None
            else:
                return self._taken[-1]

    def deliver(self, connection: Connection) -> None:
        """Hand over a connection of this call."""
        self._accepted.put(connection)

    def close(self) -> None:
        """Close the connections of this call."""
        while not self._accepted.empty():
            self._taken.append(self._accepted.get())
        for connection in self._taken:
            connection.close()


class Backend:
    """Accepts connections and sorts them by the word that their request begins with."""

    def __init__(self, hosts: Iterable[str], port: int = 0) -> None:
        """Listen on one port of all ``hosts``, which are IP addresses of this machine; 0 stands for a free one."""
        self._calls: dict[bytes, Call] = {}
        self._begun: dict[socket.socket, tuple[sock_diag.Endpoint, bytes]] = {}
        self.connections = 0
        """How many the proxy has made so far."""
        self._wake_up, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listeners: list[socket.socket] = []
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            # Accepted connections inherit both, so that a large request fills all buffers.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
            port = listener.getsockname()[1]
            self._listeners.append(listener)
            self._selector.register(listener, selectors.EVENT_READ)
        self.port = port
        self.address = ports.join(*self._listeners[0].getsockname()[:2])
        self._thread = threading.Thread(target=self._run, name=f"backend {self.address}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake_up.close()
        self._thread.join()
        self._selector.close()
        for opened in (*self._listeners, *self._begun, self._woken):
            opened.close()

    def register(self, call: Call) -> None:
        """Give the connections that begin with a call's word to it, from now on."""
        self._calls[call.word] = call

    def forget(self, call: Call) -> None:
        """Undo ``register``."""
        del self._calls[call.word]

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj in self._listeners:
                    self._accept(key.fileobj)
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        accepted, remote = listener.accept()
        self.connections += 1
        self._begun[accepted] = (remote[:2], b"")
        self._selector.register(accepted, selectors.EVENT_READ)

    def _read(self, accepted: socket.socket) -> None:
        remote, word = self._begun[accepted]
        try:
            data = accepted.recv(_WORD_BYTES - len(word))
        except ConnectionError:
            data = b""
        word += data
        if data and len(word) < _WORD_BYTES:
            self._begun[accepted] = (remote, word)
            return
        self._selector.unregister(accepted)
        del self._begun[accepted]
        call = self._calls.get(word)  # another thread may forget it at any moment
        if call is not None:
            call.deliver(Connection(accepted, remote, word))
        else:
            accepted.close()


@contextmanager
def called(backends: Iterable[Backend]) -> Iterator[Call]:
    """Make a call that any of the backends may get."""
    call = Call()
    with ExitStack() as stack:
        stack.callback(call.close)
        for backend in backends:
            backend.register(call)
            stack.callback(backend.forget, call)
        yield call
