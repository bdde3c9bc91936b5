"""Accepting on raw descriptors, for both modes."""

import errno
import select
import socket
import time
from collections.abc import Callable

from impls import counters
from impls.worker import Worker

REST_S = 0.1
"""How long a listener rests when accept(2) fails for want of something: it stays readable all the while."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listeners:
    """The worker's listeners in an epoll set, and a function for each that accepts one connection."""

    def __init__(self, worker: Worker, epoll: select.epoll) -> None:
        self._worker = worker
        self._epoll = epoll
        self._resting: list[tuple[float, socket.socket]] = []
        """When to wake which, the earliest first."""
        self.accepts: dict[int, Callable[[], int | None]] = {}
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

    def _acceptor(self, listener: socket.socket) -> Callable[[], int | None]:
        """Make the function that accepts one connection, as the original does at each event.

        It returns the connection's descriptor (blocking), or None when there is none to accept.
        """
        row, log, debug = self._worker.counters, self._worker.log, self._worker.options.debug
        # What socket.accept is built on: it returns a bare descriptor instead of a new socket object.
        accept_one: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001

        def accept() -> int | None:
            try:
                fd, peer = accept_one()
            except BlockingIOError:
                return None  # another worker was faster
            except OSError as error:
                row[counters.ERROR_ACCEPT] += 1
                log.accept_failed(error)
                if error.errno in _EXHAUSTED:
                    self._epoll.modify(listener, 0)
                    self._resting.append((time.monotonic() + REST_S, listener))
                return None
            row[counters.ACCEPTED] += 1
            if debug:
                log.accepted(fd, peer)
            return fd

        return accept
