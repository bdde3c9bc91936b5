"""The time limits of pairs: who has reached one, and how that ends."""

from impls import counters
from impls.epoll_raw.idle import Looks, reset_on_close
from impls.epoll_raw.pair import Pair
from impls.epoll_raw.pair_backends import PairBackends
from impls.epoll_raw.pair_clients import PairClients
from impls.epoll_raw.pair_relay import PairRelay
from impls.epoll_raw.turn import Turn
from impls.worker import Worker


class PairLimits:
    """Called now and then."""

    def __init__(
        self,
        worker: Worker,
        turn: Turn,
        looks: Looks,
        clients: PairClients,
        backends: PairBackends,
        relay: PairRelay,
    ) -> None:
        self._row = worker.counters
        self._turn = turn
        self._looks = looks
        self._clients = clients
        self._backends = backends
        self._failures = backends.failures
        self._relay = relay

    def expire(self) -> None:
        """End what has reached its time limit, and try again what waits for a descriptor."""
        if self._backends.is_starved:
            self._retry_waiting()
        for pair in self._backends.connecting.overdue():
            self._relay.end(pair, self._failures.not_accepted(pair.target))
        for pair in self._backends.replying.overdue():
            self._reply_overdue(pair)
        self._clients.end_lingering()

    def _retry_waiting(self) -> None:
        for pair in self._backends.waited_too_long():
            self._relay.end(pair, self._failures.untried_in_time(pair.target))
        for pair in self._backends.tried_again():
            self._relay.connect(pair, pair.request)

    def _reply_overdue(self, pair: Pair) -> None:
        if pair.awaits_client:
            self._backends.replying.start(pair)
        else:
            self._relay.end(pair, self._failures.silent(pair.target, pair))

    def end_idle(self) -> float:
        """Close the pairs that are idle; return when something last moved on the one that is nearest to it."""
        self._clients.look_what_is_taken()
        oldest_s = self._turn.now_s
        for pair, moved_s in [*self._clients.moved_s.items()]:
            if pair.owes and not (pair.over or pair.awaits_client):
                continue  # it is the backend's turn, which has limits of its own
            if moved_s > self._turn.now_s - self._looks.limit_s:
                oldest_s = min(oldest_s, moved_s)
                continue
            self._row[counters.ERROR_IDLE] += 1
            if pair.client.unsent:
                reset_on_close(pair.client.fd)
            self._relay.abandon(pair)
        return oldest_s
