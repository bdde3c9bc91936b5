"""Time limits without a timer for each connection, for libraries with asyncio's interface."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Deadlines(Generic[_T]):
    """What has to happen within one and the same time limit.

    The limit is the same for all, so the order in which they were started is the order of their deadlines, and
    one timer, set to the earliest, does for all of them. Starting and stopping cost an entry in a table, where
    ``loop.call_later`` and ``TimerHandle.cancel`` for each exchange would cost several times that.
    """

    def __init__(self, limit_s: float, expired: Callable[[_T], None]) -> None:
        self._limit_s = limit_s
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._started_s: dict[_T, float] = {}
        self._timer_runs = False

    def start(self, key: _T) -> None:
        """Give ``key`` the full time from now on."""
        self._started_s.pop(key, None)
        self._started_s[key] = self._loop.time()
        if not self._timer_runs:
            self._timer_runs = True
            self._loop.call_later(self._limit_s, self._expire)

    def stop(self, key: _T) -> None:
        """Let ``key`` have all the time it wants; one that was not started is as well."""
        self._started_s.pop(key, None)

    def _expire(self) -> None:
        self._timer_runs = False
        started_s = self._started_s
        while started_s:
            key = next(iter(started_s))
            left_s = started_s[key] + self._limit_s - self._loop.time()
            if left_s > 0:
                self._timer_runs = True
                self._loop.call_later(left_s, self._expire)
                return
            del started_s[key]
            self._expired(key)
