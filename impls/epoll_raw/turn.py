"""What a turn of the loop is for pairs of connections: its time, whose events it takes, and what it leaves.

A descriptor closed half-way through a batch of events could be given out anew within that batch and get its
predecessor's event. So those of pairs are closed at the end of the turn, and an event for a side that is no longer
known is dropped.
"""

import os
import time

from impls.epoll_raw.pair import Side
from impls.worker import Worker


class Turn:
    """One turn after the other of a worker's loop."""

    def __init__(self, worker: Worker) -> None:
        self._debug = worker.options.debug
        self._log = worker.log
        self.now_s = time.monotonic()
        """When the turn began."""
        self.sides: dict[int, Side] = {}
        """Those that are open, by descriptor."""
        self.unfinished: list[Side] = []
        """Sides to be read on from in the next turn; edge-triggered, what is left in them is not reported again."""
        self._to_close: list[int] = []

    def begin(self, now_s: float) -> list[Side]:
        """Begin at this time (time.monotonic); return what the one before has left unfinished."""
        self.now_s = now_s
        unfinished, self.unfinished = self.unfinished, []
        return unfinished

    def drop(self, side: Side) -> None:
        """Know a side no more, and close it at the end."""
        side.is_open = False
        del self.sides[side.fd]
        self._to_close.append(side.fd)
        if self._debug:
            self._log.closed(side.fd)

    def end(self) -> None:
        """Close what was dropped, now that no event of the turn can be for it any more."""
        for fd in self._to_close:
            os.close(fd)
        self._to_close.clear()
