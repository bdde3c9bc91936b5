"""A side that does not read costs little memory, the worker's and the kernel's, and gets everything when it reads."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness import ports, processes
from harness.conformance import sock_diag
from harness.registry import Implementation
from tests.faults.pieces import content
from tests.held_worker import TIMEOUT_S, worker_of

LARGE_BYTES = 50 << 20
SLOW = 20
READ_LATE = 2
"""So many of them read in the end; the others are reset."""
MOST_BYTES = 1_000_000
"""For each connection, on the average."""
STALLED_AFTER_S = 0.5
STALLS_WITHIN_S = 30.0
REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
_BLOCK = content(1 << 20, seed=5)
_READ_BYTES = 1 << 18


def message(number: int) -> Iterator[bytes]:
    """Make a large body in parts, none like another of it or at that place of another message."""
    for part in range(LARGE_BYTES // len(_BLOCK)):
        start = (number * 7919 + part * 104_729) % len(_BLOCK)
        yield _BLOCK[start:]
        yield _BLOCK[:start]


@dataclass(slots=True)
class Sender:
    """Sends a head and a large body from a thread, and tells how far it has come."""

    connection: socket.socket
    parts: Iterator[bytes]
    sent: int = 0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="sender")
        self.thread.start()

    def _run(self) -> None:
        with suppress(OSError):  # what does not arrive is missed where it should
            for part in self.parts:
                view = memoryview(part)
                while view:
                    count = self.connection.send(view)
                    self.sent += count
                    view = view[count:]

    def end(self) -> None:
        """Stop, and let nothing of it run on."""
        with suppress(OSError):  # it has ended already
            self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A client's connection and its backend's."""

    client: socket.socket
    backend: socket.socket

    def kernel_bytes(self, proxy: tuple[str, int]) -> int:
        """Tell what the kernel holds at the proxy's ends of both."""
        at_client = sock_diag.find(proxy, self.client.getsockname())
        return (at_client.memory_bytes if at_client else 0) + self.kernel_bytes_to_backend()

    def kernel_bytes_to_backend(self) -> int:
        """Tell what the kernel holds at the proxy's end of the backend's."""
        end = sock_diag.find(self.backend.getpeername(), self.backend.getsockname())
        return end.memory_bytes if end else 0


@dataclass(frozen=True, slots=True)
class Proxy:
    """One with a worker, and the listener of its backend."""

    address: tuple[str, int]
    worker_pid: int
    listener: socket.socket
    stack: ExitStack

    def begin(self, request: bytes) -> Exchange:
        """Send the begin of a request, and take the backend's connection of it."""
        client = self.stack.enter_context(socket.create_connection(self.address, TIMEOUT_S))
        client.sendall(request)
        backend, _ = self.listener.accept()
        self.stack.enter_context(backend)
        backend.settimeout(STALLS_WITHIN_S)
        client.settimeout(STALLS_WITHIN_S)
        return Exchange(client, backend)

    def serve(self) -> None:
        """Have a small exchange."""
        request = b"GET / HTTP/1.0\r\n\r\n"
        one = self.begin(request)
        assert received(one.backend, len(request)) == request
        one.backend.sendall(REPLY)
        assert received(one.client, len(REPLY)) == REPLY

    def memory_bytes(self) -> int:
        """Tell what the worker has: the larger of what is resident, and what is its alone."""
        memory = psutil.Process(self.worker_pid).memory_full_info()
        return max(memory.rss, memory.uss)


@contextmanager
def proxy(impl: Implementation, folder: Path) -> Iterator[Proxy]:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        backend = ports.join(*listener.getsockname())
        address, worker = stack.enter_context(worker_of(impl.name, ["-x", backend], folder))
        connections = stack.enter_context(ExitStack())
        yield Proxy(address, worker, listener, connections)


@contextmanager
def sending(exchanges: Sequence[Exchange], sides: Callable[[Exchange], socket.socket], head: bytes) -> Iterator[None]:
    """Send to sides that do not read, until nothing more is taken."""
    senders: list[Sender] = []
    try:
        for number, one in enumerate(exchanges):
            senders.append(Sender(sides(one), with_head(head, number)))
        wait_stalled(senders)
        yield
    finally:
        for sender in senders:
            sender.end()


def with_head(head: bytes, number: int) -> Iterator[bytes]:
    yield head
    yield from message(number)


def wait_stalled(senders: Sequence[Sender]) -> None:
    last, since_s = -1, 0.0

    def stalled() -> bool:
        nonlocal last, since_s
        now_s, sent = time.monotonic(), sum(sender.sent for sender in senders)
        if sent != last:
            last, since_s = sent, now_s
        return all(sender.sent for sender in senders) and now_s - since_s > STALLED_AFTER_S

    assert processes.wait_until(stalled, STALLS_WITHIN_S), "what nobody reads is taken on and on"
    assert all(sender.thread.is_alive() for sender in senders), "a large message was taken whole that nobody reads"


def received(connection: socket.socket, count: int) -> bytes:
    """Receive so many bytes."""
    data = bytearray()
    while len(data) < count:
        more = connection.recv(min(_READ_BYTES, count - len(data)))
        assert more, f"the end of the stream after {len(data)} bytes"
        data += more
    return bytes(data)


def expect_message(connection: socket.socket, number: int) -> None:
    for part in message(number):
        assert received(connection, len(part)) == part


def test_clients_do_not_read_large_replies__each_holds_under_1_mb_of_worker_and_kernel(
    impl: Implementation, tmp_path: Path
) -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES
    with proxy(impl, tmp_path) as one:
        one.serve()
        before = one.memory_bytes()
        exchanges = [one.begin(b"GET / HTTP/1.0\r\n\r\n") for _ in range(SLOW)]
        with sending(exchanges, lambda exchange: exchange.backend, head):
            own = (one.memory_bytes() - before) / SLOW
            kernel = sum(exchange.kernel_bytes(one.address) for exchange in exchanges) / SLOW
            assert own + kernel < MOST_BYTES, f"{own:.0f} bytes of the worker's and {kernel:.0f} of the kernel's"
            one.serve()
            for number, exchange in enumerate(exchanges[:READ_LATE]):
                assert received(exchange.client, len(head)) == head
                expect_message(exchange.client, number)
                assert exchange.client.recv(1) == b""


def test_a_backend_does_not_read_large_requests__each_holds_under_1_mb_of_the_worker_and_at_the_backend_s_end(
    impl: Implementation, tmp_path: Path
) -> None:
    """What the kernel holds at the client's end is its choice: 0.2 to 1.8 MB, and 3.3 where packets came in bursts."""
    request = b"POST / HTTP/1.0\r\n"
    head = b"Content-Length: %d\r\n\r\n" % LARGE_BYTES
    with proxy(impl, tmp_path) as one:
        one.serve()
        before = one.memory_bytes()
        exchanges = [one.begin(request) for _ in range(SLOW)]
        with sending(exchanges, lambda exchange: exchange.client, head):
            own = (one.memory_bytes() - before) / SLOW
            kernel = sum(exchange.kernel_bytes_to_backend() for exchange in exchanges) / SLOW
            assert own + kernel < MOST_BYTES, f"{own:.0f} bytes of the worker's and {kernel:.0f} of the kernel's"
            one.serve()
            for number, exchange in enumerate(exchanges[:READ_LATE]):
                assert received(exchange.backend, len(request + head)) == request + head
                expect_message(exchange.backend, number)
                exchange.backend.sendall(REPLY)
                assert received(exchange.client, len(REPLY)) == REPLY
