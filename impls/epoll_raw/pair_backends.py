"""The backends of pairs: one is connected to, tried, given its time, and left.

A request for which there is no descriptor waits until a connection has ended. None is accepted meanwhile, which would
take that one's descriptor.
"""

import errno
import itertools
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence

from impls.addresses import Address
from impls.backends import Backends
from impls.descriptors import EXHAUSTED, Reserve
from impls.epoll_raw.backend_sockets import Target
from impls.epoll_raw.deadlines import Deadlines
from impls.epoll_raw.pair import ALL_EVENTS, Pair, Side
from impls.epoll_raw.turn import Turn
from impls.failures import Failures
from impls.listeners import open_backend_socket
from impls.worker import Worker


class PairBackends:
    """Connects pairs to backends, and knows who is late."""

    def __init__(
        self,
        worker: Worker,
        epoll: select.epoll,
        turn: Turn,
        backends: Backends[Target],
        rest_from_accepting: Callable[[], None],
    ) -> None:
        """``rest_from_accepting`` is called when there is no descriptor for a connection to a backend."""
        self._options = worker.options
        self._log = worker.log
        self._epoll = epoll
        self._turn = turn
        self._backends = backends
        self.failures = Failures(backends, worker.counters, worker.log)
        self._rest_from_accepting = rest_from_accepting
        self._reserve = Reserve()
        self.is_starved = False
        """There was no descriptor for a backend's connection; until there is one in reserve, none is to be accepted."""
        self.waiting: dict[Pair, float] = {}
        """Those for whose backend's connection there was no descriptor, and since when."""
        self.connecting = Deadlines[Pair](worker.options.connect_timeout_s, turn)
        """Those whose backend has to accept."""
        self.replying = Deadlines[Pair](worker.options.reply_timeout_s, turn)
        """Those whose backend has to send something, or to end."""

    @property
    def has_deadlines(self) -> bool:
        """Whether any time limit is running."""
        return bool(self.is_starved or self.connecting or self.replying)

    def order(self) -> Sequence[Target]:
        """Return the backends in the order in which the next pair is to try them."""
        return self._backends.turn()

    def connect(self, pair: Pair, request: bytes) -> bool:
        """Begin to connect to the next backend that does not refuse at once; False when there is none left.

        The request is to follow when it accepts.
        """
        for target in pair.untried:
            pair.target, address = target, target.address
            try:
                connection = self._open_socket(address)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    pair.untried = itertools.chain((target,), pair.untried)
                    self._wait_for_descriptor(pair, request, error)
                    return True
                self.failures.untried(target, error)
                continue
            result = connection.connect_ex((address.host, address.port))
            if result not in (0, errno.EINPROGRESS):
                connection.close()
                self.failures.refused(target, OSError(result, os.strerror(result)))
                continue
            fd = connection.detach()
            self.waiting.pop(pair, None)
            self.join(pair, fd).unsent = request
            self.connecting.start(pair)
            self._epoll.register(fd, ALL_EVENTS)
            return True
        return False

    def join(self, pair: Pair, fd: int) -> Side:
        """Make a connection the pair's backend."""
        backend = pair.backend = self._turn.sides[fd] = Side(fd, pair, writes_reported=True)
        backend.peer, pair.client.peer = pair.client, backend
        return backend

    # What becomes of a connection

    def accepted(self, pair: Pair) -> None:
        """Take it that the pair's backend has accepted."""
        pair.connected = True
        if pair.target in self._backends.on_trial:
            self._backends.accepted(pair.target)
        self.connecting.pop(pair, None)
        self.replying.start(pair)

    def not_accepted(self, pair: Pair, error: OSError) -> None:
        """Take what connecting ended with after a while."""
        self.connecting.pop(pair, None)
        self._drop(pair)
        self.failures.refused(pair.target, error)

    def leave(self, pair: Pair) -> None:
        """Close the pair's backend, and go on to no other."""
        if pair in self.connecting or pair in self.waiting:
            self._backends.untried(pair.target)
        self.waiting.pop(pair, None)
        self.connecting.pop(pair, None)
        self.replying.pop(pair, None)
        self._drop(pair)

    def _drop(self, pair: Pair) -> None:
        if pair.backend is not None:
            self._turn.drop(pair.backend)
            pair.backend = pair.client.peer = None

    # Waiting for a descriptor

    def waited_too_long(self) -> list[Pair]:
        """List those that have waited for a descriptor for longer than a backend may take to accept."""
        since_before_s = self._turn.now_s - self._options.connect_timeout_s
        return [pair for pair, since_s in self.waiting.items() if since_s <= since_before_s]

    def tried_again(self) -> Iterator[Pair]:
        """Yield what waits for a descriptor while there is one in reserve; each is to be connected meanwhile."""
        for pair in [*self.waiting]:
            if not self._reserve.renew():
                return
            yield pair
        self.is_starved = bool(self.waiting) or not self._reserve.renew()

    def _open_socket(self, address: Address) -> socket.socket:
        """Open a socket, for want of another descriptor with the one in reserve. Raises OSError."""
        try:
            return open_backend_socket(address, lean=self._options.lean)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.is_starved = True
            self._rest_from_accepting()
            if not self._reserve.give():
                raise
        return open_backend_socket(address, lean=self._options.lean)

    def _wait_for_descriptor(self, pair: Pair, request: bytes, error: OSError) -> None:
        pair.request = request
        if pair.waits_since_s is None:
            pair.waits_since_s = self._turn.now_s
        self.waiting[pair] = pair.waits_since_s
        self._log.backend_socket_failed(error)
