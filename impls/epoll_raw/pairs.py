"""Pairs of connections in every state that an exchange can be in; ``proxy.py`` has the usual one.

This is what the loop calls. ``pair.py`` is the state of one pair; ``pair_clients.py`` and ``pair_backends.py`` have the
tables of the clients' and of the backends' side; ``pair_relay.py`` moves bytes between the two, ``pair_limits.py`` ends
what takes too long, and ``turn.py`` is what all of them share.
"""

import os
import select
from collections.abc import Callable, Sequence

from impls import counters
from impls.backends import Backends
from impls.epoll_raw.backend_sockets import Target, bound_unsent
from impls.epoll_raw.idle import Looks
from impls.epoll_raw.pair import Side
from impls.epoll_raw.pair_backends import PairBackends
from impls.epoll_raw.pair_clients import PairClients
from impls.epoll_raw.pair_limits import PairLimits
from impls.epoll_raw.pair_relay import PairRelay
from impls.epoll_raw.turn import Turn
from impls.locality import Sample
from impls.queues import unread
from impls.worker import Worker

TICK_S = 0.1
"""How often time limits are looked at while any is running."""

_GONE = select.EPOLLHUP | select.EPOLLERR
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ARRIVED = select.EPOLLIN | _ENDED


class Pairs:
    """The pairs of a worker, and what its loop has to call for them."""

    def __init__(
        self,
        worker: Worker,
        epoll: select.epoll,
        backends: Backends[Target],
        looks: Looks,
        rest_from_accepting: Callable[[], None],
        sample: Sample | None,
    ) -> None:
        """``rest_from_accepting`` is called when there is no descriptor for a connection to a backend.

        ``sample`` is of these connections.
        """
        self._row = worker.counters
        self.turn = Turn(worker)
        self.clients = PairClients(worker, self.turn, looks)
        self.backends = PairBackends(worker, epoll, self.turn, backends, rest_from_accepting)
        self._relay = PairRelay(worker, epoll, self.turn, self.clients, self.backends, sample)
        self.limits = PairLimits(worker, self.turn, looks, self.clients, self.backends, self._relay)

    @property
    def wait_s(self) -> float:
        """How long the poll may wait for the pairs' sake; less than 0 for without end."""
        if self.turn.unfinished:
            return 0
        return TICK_S if self.backends.has_deadlines or self.clients.has_deadlines else -1

    def begin_turn(self, now_s: float) -> None:
        """Go on with what was left unfinished; ``now_s`` (time.monotonic) is the time for this turn."""
        for side in self.turn.begin(now_s):
            if side.is_open:
                self._relay.read(side)

    # Connections that come here

    def adopt(self, fd: int) -> Side:
        """Take a client's connection, blocking and registered for READ_EVENTS."""
        os.set_blocking(fd, False)
        return self.clients.adopt(fd)

    def begin(self, fd: int, request: bytes, order: Sequence[Target]) -> None:
        """Take a client's connection with its request, for which the backends are to be tried in this order."""
        pair = self.adopt(fd).pair
        pair.requests.feed(request)
        pair.untried = iter(order)
        self._relay.connect(pair, request)

    def finish(self, fd: int, rest: bytes) -> None:
        """Take a client's connection that needs no more than the rest of its reply."""
        self._relay.end(self.adopt(fd).pair, rest)

    def adopt_exchange(self, client: int, backend: int, order: Sequence[Target], request: bytes, *, sent: bool) -> Side:
        """Take an exchange with the first backend in ``order``, which was or is to be sent the request.

        Its time limit begins anew. Returns the backend's side.
        """
        pair = self.adopt(client).pair
        pair.target, pair.untried = order[0], iter(order[1:])
        pair.requests.feed(request)
        bound_unsent(backend)
        side = self.backends.join(pair, backend)
        if sent:
            pair.connected = True
            self.backends.replying.start(pair)
        else:
            side.unsent = request
            self.backends.connecting.start(pair)
        return side

    # Events

    def take(self, side: Side, data: bytes, event: int) -> None:
        """Take what was read from a side at an event of its own, and go on with it."""
        side.readable = True
        if event & _ENDED:
            side.ended = True
        self._relay.arrived(side, data)
        if side.is_open:
            self._relay.read(side)

    def handle(self, side: Side, event: int) -> None:
        """Take an event of a side."""
        pair = side.pair
        if event & _ARRIVED:
            side.readable = True
            if event & _ENDED:
                side.ended = True
        if side is pair.backend and not pair.connected:
            self._relay.connect_reported(pair, side)
        elif event & select.EPOLLOUT and side.unsent:
            self._relay.flush(side)
        if side.readable and side.is_open:
            self._relay.read(side)
        if event & _GONE and side is pair.client and side.is_open and not pair.over:
            # Reset after it had ended its stream: a read returns just the end once more.
            self._row[counters.ERROR_READ] += 1
            self._relay.abandon(pair)

    def stop(self) -> None:
        """End the kept connections that are owed nothing, and from now on each when it has its reply."""
        self.clients.is_stopping = True
        for pair in [*self.clients.moved_s]:
            is_due = pair.over or pair.owes or pair.client.unsent
            if pair.connected and not is_due and not unread(pair.client.fd):
                self._relay.end(pair)
