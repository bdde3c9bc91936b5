"""What a connection in server mode needs seldom, out of the way of the loops."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from impls import counters
from impls.contract import LINGER_MOST_S, LINGER_S, READ_SIZE
from impls.epoll_raw import idle
from impls.epoll_raw.accept import REST_S, WatchedListeners
from impls.queues import unread, untaken
from impls.worker import Worker


class Rare:
    """Each method does one rare thing; ``handlers`` are for descriptors that are to be treated unlike the others.

    The loop keeps ``accepted_s`` and ``moved_s``, and calls ``tend`` at the end of a turn when ``is_due``. So a turn in
    which nothing is due costs it no more than that look.
    """

    def __init__(self, worker: Worker, epoll: select.epoll, listeners: WatchedListeners) -> None:
        self._worker = worker
        self._epoll = epoll
        self._listeners = listeners
        self.accepted_s: dict[int, float] = {}
        """By descriptor, when each connection was accepted; these times are those of time.monotonic."""
        self.moved_s: dict[int, float] = {}
        """By descriptor, when a message came last or some of a reply was taken late; only for those that have asked."""
        self._looks = idle.Looks(worker.options.idle_timeout_s)
        self._untaken: dict[int, int] = {}
        """Those whose client does not take its reply, and how many bytes were left of it at the last look."""
        self._lingering: dict[int, float] = {}
        """Descriptor to deadline, the earliest first."""
        self.handlers: dict[int, Callable[[], None]] = {
            worker.orders.fileno(): self._obey,
            self._looks.alarm.fd: self._take_alarm,
        }
        """By descriptor, what is to be done at its next event."""
        self._tables: tuple[dict[int, Any], ...] = (
            self.accepted_s, self.moved_s, self.handlers, self._lingering, self._untaken
        )  # fmt: skip
        self.is_stopping = False
        self._has_begun_to_stop = False
        self.is_due = True
        """``tend`` has something to do. The loop sets it when there are ``max_connections``."""
        self.wait_s = -1.0
        """How long the poll may wait: without end, but for connections that linger and for want of descriptors."""
        listeners.when_paused = self._make_due
        for fd in self.handlers:
            epoll.register(fd, select.EPOLLIN)

    def _make_due(self) -> None:
        self.is_due = True

    def _take_alarm(self) -> None:
        self._looks.alarm.clear()
        self.is_due = True

    # What a turn ends with

    def tend(self) -> bool:
        """Do what time or want of room makes due; tell whether the worker has stopped."""
        now_s = time.monotonic()
        if now_s >= self._looks.next_s:
            self._end_idle(now_s)
        while self._lingering and now_s >= next(iter(self._lingering.values())):
            self.close(next(iter(self._lingering)))
        if self.is_stopping:
            self._stop(now_s)
        self._listeners.adjust(self._worker.max_connections - len(self.accepted_s), now_s)
        self.is_due = self.is_stopping or bool(self._lingering) or self._listeners.is_paused
        self.wait_s = REST_S if self._lingering or self._listeners.rests else -1.0
        return self.is_stopping and not self.accepted_s and not self._listeners.accepts

    def _end_idle(self, now_s: float) -> None:
        for fd, before in self._untaken.items():
            self._untaken[fd] = untaken(fd)
            if self._untaken[fd] != before:
                self.moved_s[fd] = now_s
        silent_since_s = now_s - self._looks.limit_s
        for fd, moved_s in {**self.accepted_s, **self.moved_s}.items():
            if moved_s <= silent_since_s:
                self._worker.counters[counters.ERROR_IDLE] += 1
                if fd in self._untaken:
                    idle.reset_on_close(fd)
                self.close(fd)
        oldest_s = min({**self.accepted_s, **self.moved_s}.values(), default=now_s)
        self._looks.looked(now_s, oldest_s, soon=bool(self._untaken))

    # The order to stop

    def _obey(self) -> None:
        if self._worker.orders.obey():
            self._epoll.unregister(self._worker.orders.fileno())
            self.is_stopping = self.is_due = True

    def _stop(self, now_s: float) -> None:
        for fd in self._listeners.drain(self._worker.max_connections - len(self.accepted_s)):
            os.set_blocking(fd, False)
            self._epoll.register(fd, select.EPOLLIN)
            self.accepted_s[fd] = now_s
        if not self._has_begun_to_stop:
            self._has_begun_to_stop = True
            self.end_answered([*self.moved_s])

    def end_answered(self, fds: Iterable[int]) -> None:
        """Close those of these connections that are owed nothing: all that they sent was read, and the reply taken."""
        for fd in fds:
            if fd in self.accepted_s and fd not in self.handlers and not unread(fd):
                self.close(fd)

    # One connection

    def failed(self, fd: int, kind: int, error: OSError) -> None:
        """Count what went wrong with a connection, and close it."""
        self._worker.counters[kind] += 1
        if self._worker.options.debug:
            self._worker.log.line(f"error {fd} {error.strerror}")
        self.close(fd)

    def close(self, fd: int) -> None:
        """Close a connection that needs no reply."""
        for table in self._tables:
            table.pop(fd, None)
        os.close(fd)
        if self._worker.options.debug:
            self._worker.log.closed(fd)

    def send_later(self, fd: int, rest: bytes) -> None:
        """Wait until a client that does not read its replies takes the rest of one; read nothing from it before."""
        self._epoll.modify(fd, select.EPOLLOUT)
        self.handlers[fd] = lambda: self._send(fd, rest)
        self._untaken[fd] = untaken(fd)
        self._looks.soon(time.monotonic())

    def _send(self, fd: int, rest: bytes) -> None:
        sent = self._write(fd, rest)
        if sent is None:
            return
        if sent < len(rest):
            self.handlers[fd] = lambda: self._send(fd, rest[sent:])
            return
        self.moved_s[fd] = time.monotonic()
        del self.handlers[fd], self._untaken[fd]
        self._epoll.modify(fd, select.EPOLLIN)
        if self.is_stopping:
            self.end_answered([fd])

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
        now_s = time.monotonic()
        self.handlers[fd] = lambda: self._discard(fd, now_s + LINGER_MOST_S)
        self.accepted_s.setdefault(fd, now_s)
        self.moved_s[fd] = now_s
        self._lingering[fd] = now_s + LINGER_S
        self.is_due = True

    def _discard(self, fd: int, until_s: float) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except OSError as error:
            self.failed(fd, counters.ERROR_READ, error)
            return
        if self._worker.options.debug:
            self._worker.log.read(fd, data)
        self.moved_s[fd] = time.monotonic()
        if not data or self.moved_s[fd] >= until_s:
            self.close(fd)
            return
        del self._lingering[fd]
        self._lingering[fd] = self.moved_s[fd] + LINGER_S

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
