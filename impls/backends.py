"""Which backend a connection goes to, and which come next when that refuses."""

import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from impls import counters
from impls.counters import Row

_T = TypeVar("_T")
_LAPSE_S = 0.5
"""What a trial may take beyond the time to connect, as that is not looked at all the time."""


class Backends(Generic[_T]):
    """Round robin over the backends, in each worker from the first one on; one that failed is left out for a while.

    After that one connection tries it, and the others do without it until it has accepted: one that swallows SYNs
    would else cost every client whose turn it is the time to connect.
    """

    def __init__(
        self,
        backends: Sequence[_T],
        rest_s: float,
        connect_timeout_s: float,
        row: Row,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rest_s`` is for how long one that failed is left out; ``row`` counts that; ``clock`` tells seconds."""
        self.on_trial: set[_T] = set()
        """Those that one connection tries; while there are any, ``accepted`` is to be called for each that accepts."""
        self._orders = tuple((*backends[i:], *backends[:i]) for i in range(len(backends)))
        self._next = 0
        self._rest_s = rest_s
        self._trial_s = connect_timeout_s + _LAPSE_S
        self._row = row
        self._clock = clock
        self._out_until_s: dict[_T, float] = {}
        """Those that have failed and not accepted since, and until when nobody is to try them."""

    def turn(self) -> tuple[_T, ...]:
        """Return the backends in the order in which a new connection is to try them, each once; none when all are out.

        The next connection's order begins one further on. An order of its own for each connection, because with a
        common turn two connections that are refused at once could both come back to the backend that refuses.
        """
        order = self._orders[self._next]
        self._next = (self._next + 1) % len(self._orders)
        return self._without_failed(order) if self._out_until_s else order

    def failed(self, backend: _T) -> None:
        """Leave a backend out, which refused or did not accept in time, from now on."""
        now_s = self._clock()
        if backend in self.on_trial or self._out_until_s.get(backend, now_s) <= now_s:
            self.on_trial.discard(backend)
            self._row[counters.ERROR_BACKEND_OUT] += 1
            self._out_until_s[backend] = now_s + self._rest_s

    def accepted(self, backend: _T) -> None:
        """Take it that a backend has accepted, which ends its trial."""
        if backend in self.on_trial:
            self.on_trial.remove(backend)
            del self._out_until_s[backend]

    def untried(self, backend: _T) -> None:
        """Take it that a trial was given up before the backend could show anything: the next connection tries it."""
        if backend in self.on_trial:
            self.on_trial.remove(backend)
            self._out_until_s[backend] = self._clock()

    def _without_failed(self, order: tuple[_T, ...]) -> tuple[_T, ...]:
        now_s = self._clock()
        first: list[_T] = []
        last: list[_T] = []
        """Whose rest is over, and whose turn to be tried it is not; better than none."""
        for backend in order:
            until_s = self._out_until_s.get(backend)
            if until_s is None:
                first.append(backend)
            elif until_s <= now_s:
                if first:
                    last.append(backend)
                else:
                    first.append(backend)
                    self.on_trial.add(backend)
                    # A trial that nobody ends is over by itself.
                    self._out_until_s[backend] = now_s + self._trial_s
        if not first:
            self._row[counters.ERROR_NO_BACKEND] += 1
        return (*first, *last)
