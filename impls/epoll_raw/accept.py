"""Accepting on raw descriptors, for all modes."""

import errno
import select
import socket
import time
from collections.abc import Callable

from impls import counters
from impls.worker import Worker

MAX_EVENTS = 64
"""Events of one poll at most, as in the original."""
REST_S = 0.1
"""How long a listener rests when accept(2) fails for want of something: it stays readable all the while."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Accept = Callable[[int], list[int]]
"""Accepts as many connections as are waiting, but no more than it is told; returns their descriptors (blocking)."""


class Listeners:
    """The worker's listeners in an epoll set, and a function for each that accepts."""

    def __init__(self, worker: Worker, epoll: select.epoll) -> None:
        self._worker = worker
        self._epoll = epoll
        self._resting: list[tuple[float, socket.socket]] = []
        """When to wake which, the earliest first."""
        self.accepts: dict[int, Accept] = {}
        """By the listener's descriptor."""
        for listener in worker.listeners:
            self.accepts[listener.fileno()] = self._acceptor(listener)
            epoll.register(listener, select.EPOLLIN)

    @property
    def any_rests(self) -> bool:
        """Whether ``wake`` has to be called."""
        return bool(self._resting)

    def wake(self) -> None:
        """Accept again on those that have rested long enough."""
        while self._resting and self._resting[0][0] <= time.monotonic():
            _, listener = self._resting.pop(0)
            self._epoll.modify(listener, select.EPOLLIN)

    def _acceptor(self, listener: socket.socket) -> Accept:
        row, log, debug = self._worker.counters, self._worker.log, self._worker.options.debug
        # What socket.accept is built on: it returns a bare descriptor instead of a new socket object.
        accept_one: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001

        def accept(limit: int) -> list[int]:
            accepted: list[int] = []
            try:
                for _ in range(limit):
                    fd, peer = accept_one()
                    accepted.append(fd)
                    if debug:
                        log.accepted(fd, peer)
            except BlockingIOError:
                pass  # there are no more, or another worker was faster
            except OSError as error:
                self._failed(listener, error)
            row[counters.ACCEPTED] += len(accepted)
            return accepted

        return accept

    def _failed(self, listener: socket.socket, error: OSError) -> None:
        self._worker.counters[counters.ERROR_ACCEPT] += 1
        self._worker.log.accept_failed(error)
        if error.errno in _EXHAUSTED:
            self._epoll.modify(listener, 0)
            self._resting.append((time.monotonic() + REST_S, listener))
