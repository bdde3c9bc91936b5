"""Events per poll, as far as a program on uvloop can see them.

uvloop shows neither its polls nor how many events one returned. What can be seen is the callbacks: those that tell
of something the poll has found are counted as its events, and a batch ends with a callback of our own that
``call_soon`` puts before the next poll. An empty poll calls nothing back and stays unseen.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from impls import counters
from impls.counters import Row

_P = TypeVar("_P", bound=asyncio.BaseProtocol)
_EVENTS = ("connection_made", "data_received", "buffer_updated", "eof_received")


class Batches:
    """Counts events, and how many come between two turns of the loop."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._events = 0
        self._loop = asyncio.get_running_loop()

    def counted(self, protocol: type[_P]) -> type[_P]:
        """Derive a protocol whose callbacks are counted, so that the one without ``-v`` has no cost of it."""
        callbacks: dict[str, Any] = {
            name: self._counted(callback) for name in _EVENTS if (callback := getattr(protocol, name, None))
        }
        connection_lost = protocol.connection_lost

        def lost(connection: _P, error: Exception | None) -> None:
            if error is not None:  # else it is our own close that is reported
                self._event()
            connection_lost(connection, error)

        return type(protocol.__name__, (protocol,), {"__slots__": (), **callbacks, "connection_lost": lost})

    def _counted(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._event()
            return callback(*arguments)

        return call

    def _event(self) -> None:
        if not self._events:
            self._loop.call_soon(self._end)
        self._events += 1

    def _end(self) -> None:
        counters.record_poll(self._row, self._events)
        self._events = 0
