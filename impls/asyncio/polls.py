"""What ``-v`` shows of asyncio's loop: it takes a selector of our own, which is where it polls."""

import selectors

from impls import counters
from impls.counters import Row


class CountedSelector(selectors.EpollSelector):
    """Counts polls, and the descriptors that each reports as ready.

    The loop polls without waiting while it has callbacks to run, such as those of new connections: so some are empty.
    """

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll, and record what came of it."""
        ready = super().select(timeout)
        counters.record_poll(self._row, len(ready))
        return ready
