"""A worker's connections to clients: how many there are, on which nothing moves, and which are between requests.

For libraries whose sockets are waited for by a task each. Such a wait is ended from outside by shutting the socket
down, as that leaves the descriptor to its task: a close here could hit a connection that was given the same number.
"""

import errno
import socket
import sys
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from impls import counters, queues
from impls.exchange import Exchange
from impls.listeners import RESET_ON_CLOSE
from impls.worker import Worker

SWEEPS = 10
"""How often is looked for idle connections within the idle time: so much of it late, at most, each of them is found."""
_ENDED = sys.maxsize


class Socket(Protocol):
    """What is needed of a library's socket."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def shutdown(self, how: int, /) -> None:
        """End receiving, sending, or both."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """Set an option."""


class Pair(Protocol):
    """A client's connection with the one to a backend, in a proxy."""

    exchange: Exchange

    def end(self) -> None:
        """End the exchange without a word, as nothing of the client's is unread."""


_S = TypeVar("_S", bound=Socket)


class Connections(Generic[_S]):
    """Clients' connections, from accept to close. Time is counted in sweeps, which costs a request no look at a clock.

    So a worker that was held for a long time does not find all of them idle.
    """

    def __init__(self, worker: Worker, on_end: Callable[[], None]) -> None:
        """``on_end`` is called after the end of each while ``awaited``, which it sets back."""
        self.sweeps = 0
        self.sweep_s = worker.options.idle_timeout_s / SWEEPS
        """How long to wait before each sweep."""
        self.accepted: dict[_S, int] = {}
        """All connections, and when they were accepted."""
        self.moved: dict[_S, int] = {}
        """When something last moved on those that have had a reply or an exchange."""
        self.pairs: dict[_S, Pair] = {}
        self.is_paused = False
        """Nobody is accepted for want of room or of descriptors."""
        self.awaited = False
        """Somebody waits for the end of a connection."""
        self.most = self._most = worker.max_connections
        """For how many there is room."""
        self._on_end = on_end
        self._row = worker.counters
        self._log = worker.log if worker.options.debug else None
        self._untaken_bytes: dict[_S, int] = {}
        """On those that do not move: how much their clients have not taken."""

    def forget(self, connection: _S) -> None:
        """Take note that a connection is closed, or is so before anything else runs."""
        del self.accepted[connection]
        self.moved.pop(connection, None)
        self.pairs.pop(connection, None)
        if self.awaited:
            self._on_end()

    def touch(self, connection: _S) -> None:
        """Take note of a movement, which does not make it one that may be ended between requests."""
        (self.moved if connection in self.moved else self.accepted)[connection] = self.sweeps

    def has_room(self) -> bool:
        """Tell whether one more may be accepted."""
        return len(self.accepted) < self.most

    def pause(self) -> None:
        """Count a pause of accepting, unless it goes on already; whoever accepts again ends it."""
        if not self.is_paused:
            self.is_paused = True
            self._row[counters.ERROR_FULL] += 1

    def hold(self) -> None:
        """Have no room until ``release``: those who were accepted need the next descriptors."""
        self.pause()
        self.most = 0

    def release(self) -> None:
        """Have room again."""
        self.most = self._most
        self.is_paused = False
        if self.awaited:
            self._on_end()

    def failed(self, connection: _S, error: OSError, kind: int) -> None:
        """Count an error of a connection, unless that was ended for being idle: then it is none of its own."""
        if self.accepted.get(connection) == _ENDED:
            return
        self._row[kind] += 1
        if self._log:
            self._log.line(f"error {connection.fileno()} {error.strerror}")

    def sweep(self) -> None:
        """End the idle connections; to be called after every ``sweep_s``.

        A client that takes its reply slowly is not idle, though its task waits all the time: the kernel knows.
        """
        self.sweeps = now = self.sweeps + 1
        moved, before = self.moved, self._untaken_bytes
        self._untaken_bytes = untaken = {}
        idle = []
        for connection, began in self.accepted.items():
            # One sweep more than the idle time has: the first may have come right after the movement.
            still = now - moved.get(connection, began)
            if still == 2 or (still > 2 and connection in before):  # noqa: PLR2004  nothing between two sweeps
                untaken[connection] = queues.untaken(connection.fileno())
                if untaken[connection] != before.get(connection, untaken[connection]):
                    self.touch(connection)
                    continue
                if not untaken[connection]:
                    del untaken[connection]
            if still > SWEEPS:
                idle.append(connection)
        for connection in idle:
            self._end_idle(connection)

    def end_all_unused(self) -> None:
        """End those that are between requests."""
        for connection in list(self.moved):
            self.end_unused(connection)

    def end_unused(self, connection: _S) -> None:
        """End one if it is between requests; with one unread, it answers that first."""
        pair = self.pairs.get(connection)
        if pair is None:
            shut(connection, socket.SHUT_RD)
        elif pair.exchange.is_unused and not queues.unread(connection.fileno()):
            pair.end()

    def _end_idle(self, connection: _S) -> None:
        pair = self.pairs.get(connection)
        is_stuck = connection in self._untaken_bytes
        if pair is not None:
            if pair.exchange.awaits_backend:
                return
            if not pair.exchange.delivering:
                pair.end()
        if is_stuck:
            # Else the kernel would keep for minutes what the client does not take.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        shut(connection, socket.SHUT_RDWR if is_stuck else socket.SHUT_RD)
        self.accepted[connection] = _ENDED
        self.moved.pop(connection, None)
        self._row[counters.ERROR_IDLE] += 1
        if self._log:
            self._log.line(f"idle {connection.fileno()}")


def shut(connection: Socket, how: int) -> None:
    """Shut a socket down, which ends the waits for it; one that is no longer connected tells its task by itself."""
    try:
        connection.shutdown(how)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
