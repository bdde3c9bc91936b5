"""Which backend a connection goes to, and which come next when that refuses."""

import time
from collections.abc import Sequence
from typing import Generic, TypeVar

from impls import counters
from impls.counters import Row

_T = TypeVar("_T")


class Backends(Generic[_T]):
    """Round robin over the backends, in each worker from the first one on; one that failed is left out for a while."""

    def __init__(self, backends: Sequence[_T], rest_s: float, row: Row) -> None:
        """``rest_s`` is for how long one that failed is left out; ``row`` counts that."""
        self._orders = tuple((*backends[i:], *backends[:i]) for i in range(len(backends)))
        self._next = 0
        self._rest_s = rest_s
        self._row = row
        self._back_at_s: dict[_T, float] = {}
        """Those that are left out, and until when; the earliest first."""

    def turn(self) -> tuple[_T, ...]:
        """Return the backends in the order in which a new connection is to try them, each once; none when all are out.

        The next connection's order begins one further on. An order of its own for each connection, because with a
        common turn two connections that are refused at once could both come back to the backend that refuses.
        """
        order = self._orders[self._next]
        self._next = (self._next + 1) % len(self._orders)
        return self._without_failed(order) if self._back_at_s else order

    def failed(self, backend: _T) -> None:
        """Leave a backend out, which refused or did not accept in time, from now on."""
        if backend not in self._back_at_s:
            self._row[counters.ERROR_BACKEND_OUT] += 1
            self._back_at_s[backend] = time.monotonic() + self._rest_s

    def _without_failed(self, order: tuple[_T, ...]) -> tuple[_T, ...]:
        now_s = time.monotonic()
        while self._back_at_s:
            earliest = next(iter(self._back_at_s))
            if self._back_at_s[earliest] > now_s:
                break
            del self._back_at_s[earliest]
        left = tuple(backend for backend in order if backend not in self._back_at_s)
        if not left:
            self._row[counters.ERROR_NO_BACKEND] += 1
        return left
