"""The clients' connections that are open: how many, which of them are idle, and whether all have gone after a stop.

For libraries with a Protocol for each connection, behind asyncio's interface; ``connections.py`` is for those with a
task for each.

A time limit for each connection without a timer for each: a clock that ticks ``TICKS`` times in the limit, and in each
connection the tick at which something last moved. That costs an assignment for what moves, and every tick a look at
each connection. It counts ticks and not seconds so that a worker which was stopped or starved for a while, and has not
read what came meanwhile, takes nobody for idle.
"""

import asyncio
import socket
from collections.abc import Callable

from impls import counters, queues
from impls.listeners import RESET_ON_CLOSE
from impls.worker import Worker

TICKS = 20
"""So a connection is closed when it has been idle for 1 to 1.05 times the limit, and a little for the ticks' delays."""
SHORTEST_TICK_S = 0.005


class Clients:
    """The worker's."""

    def __init__(self, worker: Worker) -> None:
        self.most = worker.max_connections
        self.open: set[Client] = set()
        self.tick = 1
        """The present point in time."""
        self.left: Callable[[], None] | None = None
        """To be called when a connection is closed; most of the time nobody waits for that."""
        self.exhausted: Callable[[], None]
        """To be called where something is wanting that a connection takes, such as a descriptor: to accept none yet."""
        self.may_come: Callable[[], bool] = lambda: True
        """Asked before accepting goes on."""
        self._row = worker.counters
        self._tick_s = max(worker.options.idle_timeout_s / TICKS, SHORTEST_TICK_S)
        self._ticks = -(-worker.options.idle_timeout_s // self._tick_s)
        self._loop = asyncio.get_running_loop()
        self._loop.call_later(self._tick_s, self._look)

    def lost(self, client: "Client") -> None:
        """Forget a connection that is closed."""
        self.open.discard(client)
        if self.left is not None:
            self.left()

    def stop(self) -> None:
        """Close those that wait for another request."""
        for client in tuple(self.open):
            client.stop()

    def _look(self) -> None:
        self.tick += 1
        tick = self.tick
        idle = []
        for client in self.open:
            quiet = tick - (client.moved or client.accepted)
            if quiet >= 2:  # noqa: PLR2004  one tick may have come right after the movement
                if client.takes_something(first_look=quiet == 2):  # noqa: PLR2004  likewise
                    client.moved = tick
                elif quiet > self._ticks:
                    idle.append(client)
        for client in idle:
            if client.is_excused():
                client.moved = tick
            else:
                self._row[counters.ERROR_IDLE] += 1
                client.expire()
        self._loop.call_later(self._tick_s, self._look)


class Client(asyncio.BaseProtocol):
    """A client's connection, as far as it is one among others."""

    __slots__ = ("_untaken", "accepted", "clients", "fd", "moved", "transport")

    def __init__(self, clients: Clients, fd: int) -> None:
        self.clients = clients
        self.fd = fd
        self.accepted = clients.tick
        self.moved = 0
        """The tick of the last movement; 0: none yet, not a byte has come."""
        self._untaken = 0
        """Bytes for the client that it had not taken when last looked at, if it has been quiet since then."""
        self.transport: asyncio.Transport
        clients.open.add(self)

    def takes_something(self, *, first_look: bool) -> bool:
        """Tell whether the client has taken bytes since the last look, be they the library's or the kernel's still."""
        if not (first_look or self._untaken):
            return False
        before, self._untaken = self._untaken, self.transport.get_write_buffer_size() + queues.untaken(self.fd)
        return not first_look and self._untaken != before

    def is_excused(self) -> bool:
        """Tell whether another time limit counts at present."""
        return False

    def expire(self) -> None:
        """Close, as idle; with a reset where the client does not take what is there: the kernel is not to keep it."""
        if self._untaken:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    def stop(self) -> None:
        """Close if this one has had a reply and now waits for another request."""
        raise NotImplementedError
