"""Clients from which nothing is read at present, so that their reset would go unnoticed.

They have ended their stream and are readable for ever, or the backend does not take what they sent.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from impls.contract import GONE_CHECK_S

_T = TypeVar("_T")


class Unread(Generic[_T]):
    """Asks now and then whether they have gone, with one task for all of them, as long as there are any."""

    def __init__(self, has_gone: Callable[[_T], bool]) -> None:
        """``has_gone`` does what is to be done for one that has."""
        self._has_gone = has_gone
        self._members: set[_T] = set()
        self._is_asking = False

    def add(self, member: _T) -> None:
        """Begin to ask about one."""
        self._members.add(member)
        if not self._is_asking:
            self._is_asking = True
            trio.lowlevel.spawn_system_task(self._ask)

    def discard(self, member: _T) -> None:
        """Ask no more about one, if it was asked about."""
        self._members.discard(member)

    async def _ask(self) -> None:
        while self._members:
            await trio.sleep(GONE_CHECK_S)
            for member in tuple(self._members):
                if self._has_gone(member):
                    self._members.discard(member)
        self._is_asking = False
