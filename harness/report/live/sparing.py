"""Work that is done now and then, and must not slow down what it is about."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_LEAST_PAUSE_S = 0.5
_SHARE = 0.01
"""Of the time, at most."""


class Sparing:
    """Tells when work is due: after _LEAST_PAUSE_S, or a longer pause that makes it no more than _SHARE of the time."""

    def __init__(self) -> None:
        self._due_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() >= self._due_s

    @contextmanager
    def working(self) -> Iterator[None]:
        """Do the work."""
        began_s = time.thread_time()  # what waits for a CPU or a slow terminal takes nothing from anybody
        try:
            yield
        finally:
            took_s = time.thread_time() - began_s
            self._due_s = time.monotonic() + max(_LEAST_PAUSE_S, took_s / _SHARE)
