"""What a proxy does seldom: it keeps the limits on its clients, and stops."""

import select

from impls import counters
from impls.epoll_raw.accept import REST_S, WatchedListeners
from impls.epoll_raw.idle import Looks
from impls.epoll_raw.pair import READ_EVENTS
from impls.epoll_raw.pairs import Pairs
from impls.epoll_raw.usual import Usual
from impls.worker import Worker


class ProxyLimits:
    """Called at the end of a turn, when nothing of it is left to be looked at."""

    def __init__(
        self, worker: Worker, epoll: select.epoll, listeners: WatchedListeners, usual: Usual, pairs: Pairs, looks: Looks
    ) -> None:
        self._worker = worker
        self._epoll = epoll
        self._listeners = listeners
        self._usual = usual
        self._pairs = pairs
        self._looks = looks
        self.is_stopping = False
        self._has_begun_to_stop = False
        for fd in (worker.orders.fileno(), looks.alarm.fd):
            epoll.register(fd, select.EPOLLIN)

    @property
    def wait_s(self) -> float:
        """How long the poll may wait for the limits' sake: without end, but for want of descriptors."""
        return REST_S if self._listeners.rests else -1.0

    def end_idle(self, now_s: float) -> None:
        """Close connections on which nothing has moved for too long."""
        ended = self._usual.end_silent(now_s - self._looks.limit_s)
        self._worker.counters[counters.ERROR_IDLE] += ended
        oldest_s = min(self._pairs.limits.end_idle(), next(iter(self._usual.asking.values()), now_s))
        self._looks.looked(now_s, oldest_s, soon=bool(self._pairs.clients.untaken))

    def obey(self) -> None:
        """Take the parent's order."""
        if self._worker.orders.obey():
            self._epoll.unregister(self._worker.orders.fileno())
            self.is_stopping = True

    def tend(self, now_s: float) -> bool:
        """Accept as there is room; tell whether the worker has stopped. To be called while there may be none, too."""
        if self.is_stopping:
            self._stop(now_s)
        self._listeners.adjust(self._room(), now_s)
        left = self._listeners.accepts or self._usual.asking or self._usual.backend_of or self._pairs.turn.sides
        return self.is_stopping and not left

    def _stop(self, now_s: float) -> None:
        for client in self._listeners.drain(self._room()):
            self._epoll.register(client, READ_EVENTS)
            if self._worker.options.keepalive or self._worker.options.debug:
                self._pairs.adopt(client)
            else:
                self._usual.asking[client] = now_s
        if not self._has_begun_to_stop:
            self._has_begun_to_stop = True
            self._pairs.stop()
            self._pairs.turn.end()

    def _room(self) -> int:
        if self._pairs.backends.is_starved:
            return 0
        usual, clients = self._usual, self._pairs.clients
        return self._worker.max_connections - len(usual.asking) - len(usual.backend_of) - len(clients.moved_s)
