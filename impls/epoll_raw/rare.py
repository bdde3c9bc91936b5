"""What a connection in server mode needs seldom, out of the way of the loops."""

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from impls import counters
from impls.contract import LINGER_S, READ_SIZE
from impls.epoll_raw.accept import REST_S, Listeners
from impls.worker import Worker


class Rare:
    """Each method does one rare thing; ``handlers`` are for connections that are to be treated unlike the others."""

    def __init__(self, worker: Worker, epoll: select.epoll, listeners: Listeners) -> None:
        self._worker = worker
        self._epoll = epoll
        self._listeners = listeners
        self._lingering: dict[int, float] = {}
        """Descriptor to deadline, the earliest first."""
        self.handlers: dict[int, Callable[[], None]] = {}
        """By descriptor, what is to be done at its next event."""

    @property
    def wait_s(self) -> float:
        """How long the poll may wait: without end, but for connections that linger and listeners that rest."""
        return REST_S if self._lingering or self._listeners.any_rests else -1.0

    def failed(self, fd: int, kind: int, error: OSError) -> None:
        """Count what went wrong with a connection, and close it."""
        self._worker.counters[kind] += 1
        if self._worker.options.debug:
            self._worker.log.line(f"error {fd} {error.strerror}")
        self.close(fd)

    def close(self, fd: int) -> None:
        """Close a connection that needs no reply."""
        os.close(fd)
        if self._worker.options.debug:
            self._worker.log.closed(fd)

    def send_later(self, fd: int, rest: bytes) -> None:
        """Wait until a client that does not read its replies takes the rest of one; read nothing from it before."""
        self._epoll.modify(fd, select.EPOLLOUT)
        self.handlers[fd] = lambda: self._send(fd, rest)

    def _send(self, fd: int, rest: bytes) -> None:
        sent = self._write(fd, rest)
        if sent is None:
            del self.handlers[fd]
        elif sent < len(rest):
            self.handlers[fd] = lambda: self._send(fd, rest[sent:])
        else:
            del self.handlers[fd]
            self._epoll.modify(fd, select.EPOLLIN)

    def answer_and_linger(self, fd: int) -> None:
        """Answer a client that may still be sending, end the stream, and read on until the client ends its own.

        A close with unread bytes would send a reset, which can destroy the reply on its way (RFC 9112, section 9.6).
        """
        if self._write(fd, self._worker.options.reply) is None:
            return
        self._worker.counters[counters.REQUESTS] += 1
        connection = socket.socket(fileno=fd)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.failed(connection.detach(), counters.ERROR_WRITE, error)
            return
        connection.detach()
        os.set_blocking(fd, False)
        with suppress(FileExistsError):  # only a lean connection is not registered by now
            self._epoll.register(fd, select.EPOLLIN)
        self.handlers[fd] = lambda: self._discard(fd)
        self._lingering[fd] = time.monotonic() + LINGER_S

    def expire(self) -> None:
        """Close connections that have lingered long enough, and wake listeners."""
        self._listeners.wake()
        now = time.monotonic()
        while self._lingering:
            fd = next(iter(self._lingering))
            if now < self._lingering[fd]:
                break
            self._end_lingering(fd)
            self.close(fd)

    def _end_lingering(self, fd: int) -> None:
        del self.handlers[fd], self._lingering[fd]

    def _discard(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except OSError as error:
            self._end_lingering(fd)
            self.failed(fd, counters.ERROR_READ, error)
            return
        if self._worker.options.debug:
            self._worker.log.read(fd, data)
        if not data:
            self._end_lingering(fd)
            self.close(fd)
            return
        del self._lingering[fd]
        self._lingering[fd] = time.monotonic() + LINGER_S

    def _write(self, fd: int, data: bytes) -> int | None:
        """Return how many bytes the kernel took; None when the connection failed and was closed."""
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.failed(fd, counters.ERROR_WRITE, error)
            return None
        if self._worker.options.debug:
            self._worker.log.wrote(fd, sent)
        return sent
