"""Which backend a connection goes to, and which come next when that refuses."""

from collections.abc import Sequence
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Backends(Generic[_T]):
    """Round robin over the backends, in each worker from the first one on."""

    def __init__(self, backends: Sequence[_T]) -> None:
        self._orders = tuple((*backends[i:], *backends[:i]) for i in range(len(backends)))
        self._next = 0

    def turn(self) -> tuple[_T, ...]:
        """Return all backends in the order in which a new connection is to try them, each once.

        The next connection's order begins one further on. An order of its own for each connection, because with a
        common turn two connections that are refused at once could both come back to the backend that refuses.
        """
        order = self._orders[self._next]
        self._next = (self._next + 1) % len(self._orders)
        return order
