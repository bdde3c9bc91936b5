"""A connection on which reads and writes succeed at once, again and again, does not keep the others waiting.

The library's calls wait, and so let others run, only where they have to. A client that sends faster than it is
read from never has its greenlet wait.
"""

import time

import gevent
from gevent.hub import get_hub

TURN_S = 0.005
"""How long one goes on at most before the others have their turn: as long as the library's own callbacks may."""
SMALL_PIECE = 4096
"""Who sends pieces of so many bytes at most is waited for, or sends faster than it is read from, and then they grow."""
_NEXT_POLL_S = 1e-6
"""What to sleep until the loop has polled. ``gevent.sleep(0)`` may return before, says the library's manual."""


class Turn:
    """Whose turn it is in a worker, and until when."""

    def __init__(self) -> None:
        self._loop = get_hub().loop
        self._whose: object = None
        self._polls = 0
        self._until_s = 0.0

    def moved(self, whose: object) -> None:
        """Take it that one has read and handed on a piece; let the others run when it has had its turn."""
        polls = self._loop.iteration
        if polls != self._polls or whose is not self._whose:
            self._polls, self._whose = polls, whose
            self._until_s = time.monotonic() + TURN_S
        elif time.monotonic() > self._until_s:
            gevent.sleep(_NEXT_POLL_S)
