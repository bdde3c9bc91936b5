"""Accepting on raw descriptors, for all modes."""

import select
import socket
import time
from collections.abc import Callable

from impls import counters, listeners, locality
from impls.descriptors import EXHAUSTED
from impls.worker import Worker

MAX_EVENTS = 64
"""Events of one poll at most, as in the original."""
REST_S = 0.1
"""How long accepting rests when accept(2) fails for want of something: listeners stay readable all the while."""

Accept = Callable[[int], list[int]]
"""Accepts as many connections as are waiting, but no more than it is told; returns their descriptors (blocking)."""


class WatchedListeners:
    """The worker's listeners in an epoll set, and a function for each that accepts.

    While there is no room for a connection, or no descriptor, they are out of the set, so nothing reports them again
    and again; who waits, waits in the kernel's queue.
    """

    def __init__(self, worker: Worker, epoll: select.epoll) -> None:
        self._worker = worker
        self._epoll = epoll
        self._sockets = {listener.fileno(): listener for listener in worker.listeners}
        self._rests_until_s = 0.0
        self._is_starved = False
        """Something was wanting, and no connection was accepted since."""
        self._sample = locality.of_clients(worker)
        self.is_paused = False
        """They are out of the set; ``adjust`` has to be called each turn."""
        self.when_paused: Callable[[], None] = lambda: None
        """Called when that has become so."""
        self.accepts: dict[int, Accept] = {fd: self._acceptor(listener) for fd, listener in self._sockets.items()}
        """By the listener's descriptor; empty when all were closed."""
        # EPOLLEXCLUSIVE can be given when a descriptor is added, and not changed later (epoll_ctl(2)).
        self._events = select.EPOLLIN | (select.EPOLLEXCLUSIVE if worker.options.listen_mode == "exclusive" else 0)
        self._watch()

    @property
    def rests(self) -> bool:
        """Whether time has to pass until connections can be accepted again, rather than one to end."""
        return self.is_paused and self._is_starved

    def adjust(self, room: int, now_s: float) -> None:
        """Pause while there is room for no more connections, and accept again when there is."""
        if room <= 0:
            if self.accepts and not self.is_paused:
                self._worker.counters[counters.ERROR_FULL] += 1
                self._pause()
        elif self.is_paused and now_s >= self._rests_until_s:
            self.is_paused = False
            self._watch()

    def rest(self) -> None:
        """Pause for REST_S, as there was no descriptor or no memory."""
        if not self._is_starved:
            self._is_starved = True
            self._worker.counters[counters.ERROR_FULL] += 1
        self._rests_until_s = time.monotonic() + REST_S
        if not self.is_paused:
            self._pause()

    def drain(self, room: int) -> list[int]:
        """Accept what waits, for the last time, as far as there is room, and close each listener when none waits."""
        accepted: list[int] = []
        for fd, accept in [*self.accepts.items()]:
            while len(accepted) < room and time.monotonic() >= self._rests_until_s:
                failed_before = self._worker.counters[counters.ERROR_ACCEPT]
                accepted += accept(room - len(accepted))
                has_failed = self._worker.counters[counters.ERROR_ACCEPT] > failed_before
                if not has_failed and len(accepted) < room:
                    self._close(fd)
                    break
        return accepted

    def _watch(self) -> None:
        for fd in self.accepts:
            self._epoll.register(fd, self._events)

    def _pause(self) -> None:
        self.is_paused = True
        self.when_paused()
        for fd in self.accepts:
            self._epoll.unregister(fd)

    def _close(self, fd: int) -> None:
        # It would stay in the set as long as any process has it open (epoll(7), question 6).
        if not self.is_paused:
            self._epoll.unregister(fd)
        del self.accepts[fd]
        listeners.close_empty(self._sockets.pop(fd), self._worker.options)
        self.is_paused = self.is_paused and bool(self.accepts)

    def _acceptor(self, listener: socket.socket) -> Accept:
        row, log, debug, sample = self._worker.counters, self._worker.log, self._worker.options.debug, self._sample
        # What socket.accept is built on: it returns a bare descriptor instead of a new socket object.
        accept_one: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001

        def accept(limit: int) -> list[int]:
            accepted: list[int] = []
            failure = None
            try:
                for _ in range(limit):
                    fd, peer = accept_one()
                    accepted.append(fd)
                    if sample:
                        sample.skip -= 1
                        if sample.skip < 0:
                            sample.ask(fd)
                    if debug:
                        log.accepted(fd, peer)
            except BlockingIOError:
                pass  # there are no more, or another worker was faster
            except OSError as error:
                failure = error
            row[counters.ACCEPTED] += len(accepted)
            if accepted:
                self._is_starved = False
            if failure:
                self._failed(failure)
            return accepted

        return accept

    def _failed(self, error: OSError) -> None:
        self._worker.counters[counters.ERROR_ACCEPT] += 1
        self._worker.log.accept_failed(error)
        if error.errno in EXHAUSTED:
            self.rest()
