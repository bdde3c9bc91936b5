"""The exchanges of a proxy that have gone the usual way so far; ``proxy.py`` moves them on."""

import os
from collections.abc import Sequence

from impls.backends import Backends
from impls.epoll_raw.backend_sockets import BackendSockets, Target
from impls.epoll_raw.pair import Side
from impls.epoll_raw.pairs import Pairs

_Exchange = tuple[int, Sequence[Target], bytes, float]
"""The client's descriptor, the order in which backends are to be tried, the request, and when this step began."""


class Usual:
    """The exchanges that have gone the usual way so far."""

    def __init__(self, sockets: BackendSockets, backends: Backends[Target], pairs: Pairs) -> None:
        self._sockets = sockets
        self._backends = backends
        self._pairs = pairs
        self.asking: dict[int, float] = {}
        """Clients that have sent nothing yet, and when they were accepted (time.monotonic), the oldest first."""
        self.connecting: dict[int, _Exchange] = {}
        """By the backend's descriptor, those whose request waits for the handshake, the oldest first."""
        self.answering: dict[int, _Exchange] = {}
        """By the backend's descriptor, those whose request was sent, the oldest first."""
        self.backend_of: dict[int, int] = {}
        """The backend's descriptor by the client's."""

    def connect(self, client: int, request: bytes, now_s: float) -> None:
        """Begin to connect to the backend whose turn it is."""
        order = self._backends.turn()
        if order:
            try:
                backend = self._sockets.connect(order[0])
            except OSError:
                pass  # it fails for a pair as well, which counts and logs that, and goes on to the next backend
            else:
                self.connecting[backend] = client, order, request, now_s
                self.backend_of[client] = backend
                return
        self._pairs.begin(client, request, order)

    def leave(self, fd: int) -> None:
        """Make a pair of the exchange that a descriptor belongs to, if it is one of these."""
        if fd in self.asking:
            del self.asking[fd]
            self._pairs.adopt(fd)
            return
        backend = self.backend_of.get(fd, fd)
        if backend in self.connecting or backend in self.answering:
            self.leave_backend(backend)

    def leave_backend(self, backend: int) -> Side:
        """Make a pair of an exchange, and return its backend's side."""
        sent = backend in self.answering
        client, order, request, _ = (self.answering if sent else self.connecting).pop(backend)
        del self.backend_of[client]
        return self._pairs.adopt_exchange(client, backend, order, request, sent=sent)

    def leave_late(self, begun_before_s: float) -> None:
        """Make pairs of those that take long; these have time limits."""
        for exchanges in (self.connecting, self.answering):
            for backend, (*_, begun_s) in [*exchanges.items()]:
                if begun_s > begun_before_s:
                    break
                self.leave_backend(backend)

    def end_silent(self, since_s: float) -> int:
        """Close clients that have sent nothing since they were accepted, at this time or before; tell how many."""
        ended = 0
        while self.asking and next(iter(self.asking.values())) <= since_s:
            client = next(iter(self.asking))
            del self.asking[client]
            os.close(client)
            ended += 1
        return ended
