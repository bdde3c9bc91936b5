"""Time limits that are looked at now and then."""

import itertools
from typing import TypeVar

from impls.epoll_raw.turn import Turn

_T = TypeVar("_T")


class Deadlines(dict[_T, float]):
    """When it was started, of each thing that has to happen within one and the same time limit.

    The limit is the same for all, so the order in which they were started is the order of their deadlines. What has
    happened is taken out of the table.
    """

    def __init__(self, limit_s: float, turn: Turn) -> None:
        super().__init__()
        self._limit_s = limit_s
        self._turn = turn

    def start(self, key: _T) -> None:
        """Give ``key`` the full time from now on."""
        self.pop(key, None)
        self[key] = self._turn.now_s

    def overdue(self) -> list[_T]:
        """List those whose time is over."""
        started_before_s = self._turn.now_s - self._limit_s
        return list(itertools.takewhile(lambda key: self[key] <= started_before_s, self))
