"""Clients from which a transport reads nothing at present, so that it does not tell of their reset.

They have ended their stream, or the backend does not take what they sent.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from impls.contract import GONE_CHECK_S

_T = TypeVar("_T")


class Unread(Generic[_T]):
    """Asks now and then whether they have gone, with one timer for all of them."""

    def __init__(self, has_gone: Callable[[_T], bool]) -> None:
        """``has_gone`` does what is to be done for one that has."""
        self._has_gone = has_gone
        self._members: set[_T] = set()
        self._loop = asyncio.get_running_loop()
        self._timer_runs = False

    def add(self, member: _T) -> None:
        """Begin to ask about one."""
        self._members.add(member)
        self._start_timer()

    def discard(self, member: _T) -> None:
        """Ask no more about one, if it was asked about."""
        self._members.discard(member)

    def _start_timer(self) -> None:
        if self._members and not self._timer_runs:
            self._timer_runs = True
            self._loop.call_later(GONE_CHECK_S, self._ask)

    def _ask(self) -> None:
        self._timer_runs = False
        for member in tuple(self._members):
            if self._has_gone(member):
                self._members.discard(member)
        self._start_timer()
