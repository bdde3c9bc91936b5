"""Clients from which nothing is read at present, so that their reset would go unnoticed.

They have ended their stream and are readable for ever, or the backend does not take what they sent.
"""

from typing import Generic, Protocol, TypeVar

import trio

from impls.contract import GONE_CHECK_S


class Member(Protocol):
    """What is asked about."""

    def look(self) -> None:
        """Find out whether the client has gone, and do what is to be done then."""


_M = TypeVar("_M", bound=Member)


class Unread(Generic[_M]):
    """Asks now and then whether they have gone, with one task for all of them, as long as there are any."""

    def __init__(self) -> None:
        self._members: set[_M] = set()
        self._is_looking = False

    def add(self, member: _M) -> None:
        """Begin to ask about one."""
        self._members.add(member)
        if not self._is_looking:
            self._is_looking = True
            trio.lowlevel.spawn_system_task(self._look)

    def discard(self, member: _M) -> None:
        """Ask no more about one, if it was asked about."""
        self._members.discard(member)

    async def _look(self) -> None:
        while self._members:
            await trio.sleep(GONE_CHECK_S)
            for member in tuple(self._members):
                member.look()
        self._is_looking = False
