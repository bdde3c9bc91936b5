"""Server mode on raw epoll.

Why this looks as it does
-------------------------
At some 20 thousand connections a second the loop in ``answer`` runs every 50 µs, so it works on bare file
descriptors and local names: a ``socket.socket`` per connection would cost a getsockname(2) when it is made
(CPython checks the descriptor it is given) and an object to make and free. What happens rarely (accepting,
a client that does not read, a request larger than one read) is a handler in a table, out of the loop's way.

Facts about epoll that it rests on:

- A descriptor leaves its epoll set by itself when its last copy is closed (epoll(7), question 6), so nothing
  is unregistered.
- Events are level-triggered: a descriptor with unread bytes is reported again, so one read an event is enough.
- One epoll_wait(2) reports a descriptor at most once, and a descriptor is closed at its own event, or after the
  batch (``expire``). One that is given out anew within a batch can therefore not get its predecessor's event.
"""

import os
import platform
import select
import socket
import time
from collections.abc import Callable

from impls import counters
from impls.contract import LINGER_S, READ_SIZE
from impls.epoll_raw.accept import REST_S, Listeners
from impls.epoll_raw.proxy import relay
from impls.worker import Worker

LIBRARY = f"epoll of Linux {platform.release()}"
MAX_EVENTS = 64


def serve(worker: Worker) -> None:
    """Serve until a signal ends the process."""
    if worker.options.backends:
        relay(worker)
    else:
        answer(worker)


def answer(worker: Worker) -> None:  # noqa: C901, PLR0912  the hot path: a call per step would cost more than it explains
    """Answer each message with one reply, then close, or with keep-alive wait for the next."""
    row, log = worker.counters, worker.log
    keepalive, verbose, debug = worker.options.keepalive, worker.options.verbose, worker.options.debug
    reply = worker.options.reply
    epoll = select.epoll()
    handlers: dict[int, Callable[[], None]] = {}
    rare = _Rare(worker, epoll, handlers)
    poll, read, write, close = epoll.poll, os.read, os.write, os.close

    while True:
        events = poll(rare.wait_s, MAX_EVENTS)
        requests = 0
        for fd, _ in events:
            if fd in handlers:
                handlers[fd]()
                continue
            try:
                data = read(fd, READ_SIZE)
            except OSError as error:
                rare.failed(fd, counters.ERROR_READ, error)
                continue
            if debug:
                log.read(fd, data)
            if data:
                try:
                    sent = write(fd, reply)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    rare.failed(fd, counters.ERROR_WRITE, error)
                    continue
                requests += 1
                if debug:
                    log.wrote(fd, sent)
                if keepalive:
                    if sent < len(reply):
                        rare.send_later(fd, reply[sent:])
                    continue
                if len(data) == READ_SIZE:
                    rare.linger(fd)
                    continue
            close(fd)
            if debug:
                log.closed(fd)
        if rare.wait_s >= 0:
            rare.expire()
        row[counters.REQUESTS] += requests
        if verbose:
            counters.record_poll(row, len(events))


class _Rare:
    """What a connection needs seldom: each method leaves the loop a handler for it, or takes one away."""

    def __init__(self, worker: Worker, epoll: select.epoll, handlers: dict[int, Callable[[], None]]) -> None:
        self._worker = worker
        self._epoll = epoll
        self._handlers = handlers
        self._listeners = Listeners(worker, epoll)
        for fd, accept in self._listeners.accepts.items():
            handlers[fd] = self._accepting(accept)
        self.wait_s = -1.0
        """How long the poll may wait: without end, but for connections that linger and listeners that rest."""
        self._lingering: dict[int, float] = {}
        """Descriptor to deadline, the earliest first."""

    def _accepting(self, accept: Callable[[], int | None]) -> Callable[[], None]:
        """Make the handler of a listener."""
        register, readable, keepalive = self._epoll.register, select.EPOLLIN, self._worker.options.keepalive

        def handler() -> None:
            fd = accept()
            if fd is None:
                if self._listeners.any_rests:
                    self.wait_s = REST_S
                return
            if keepalive:
                # Only a kept connection can fill its send buffer. Where one reply is all there is, neither
                # the read after a report nor the write into an empty buffer can block.
                os.set_blocking(fd, False)
            register(fd, readable)

        return handler

    def failed(self, fd: int, kind: int, error: OSError) -> None:
        """Count what went wrong with a connection, and close it."""
        self._worker.counters[kind] += 1
        if self._worker.options.debug:
            self._worker.log.line(f"error {fd} {error.strerror}")
        self._close(fd)

    def send_later(self, fd: int, rest: bytes) -> None:
        """Wait until a client that does not read its replies takes the rest of one; read nothing from it before."""
        self._epoll.modify(fd, select.EPOLLOUT)
        self._handlers[fd] = lambda: self._send(fd, rest)

    def _send(self, fd: int, rest: bytes) -> None:
        try:
            sent = os.write(fd, rest)
        except BlockingIOError:
            return
        except OSError as error:
            del self._handlers[fd]
            self.failed(fd, counters.ERROR_WRITE, error)
            return
        if self._worker.options.debug:
            self._worker.log.wrote(fd, sent)
        if sent < len(rest):
            self._handlers[fd] = lambda: self._send(fd, rest[sent:])
        else:
            del self._handlers[fd]
            self._epoll.modify(fd, select.EPOLLIN)

    def linger(self, fd: int) -> None:
        """End the stream to a client that may still be sending, and read on until it ends its own.

        A close with unread bytes would send a reset, which can destroy the reply on its way (RFC 9112, section 9.6).
        """
        connection = socket.socket(fileno=fd)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.failed(connection.detach(), counters.ERROR_WRITE, error)
            return
        connection.detach()
        os.set_blocking(fd, False)
        self._handlers[fd] = lambda: self._discard(fd)
        self._lingering[fd] = time.monotonic() + LINGER_S
        self.wait_s = REST_S

    def expire(self) -> None:
        """Close connections that have lingered long enough, and wake listeners."""
        self._listeners.wake()
        now = time.monotonic()
        while self._lingering:
            fd = next(iter(self._lingering))
            if now < self._lingering[fd]:
                break
            self._end_lingering(fd)
            self._close(fd)
        self.wait_s = REST_S if self._lingering or self._listeners.any_rests else -1.0

    def _end_lingering(self, fd: int) -> None:
        del self._handlers[fd], self._lingering[fd]

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
            self._close(fd)

    def _close(self, fd: int) -> None:
        os.close(fd)
        if self._worker.options.debug:
            self._worker.log.closed(fd)
