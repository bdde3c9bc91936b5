"""A client's connection and its backend's, and how far their exchange has come; ``pair_relay.py`` moves it on.

The two are ``Side`` objects that point at each other. Both are registered edge-triggered, which saves an epoll_ctl(2)
for each change of state. In return a side remembers that it may hold unread bytes (``readable``) until a read comes up
short: on a stream socket that means an empty buffer (epoll(7), question 9), unless the end of the stream was reported
with it (``ended``).
"""

import errno
import select
import socket
from collections.abc import Iterator

from impls.epoll_raw.backend_sockets import Target
from impls.exchange import Owed

READ_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
ALL_EVENTS = READ_EVENTS | select.EPOLLOUT


class Side:
    """One connection of a pair."""

    __slots__ = ("ended", "fd", "is_open", "pair", "peer", "readable", "unsent", "writes_reported")

    def __init__(self, fd: int, pair: "Pair", *, writes_reported: bool) -> None:
        self.fd = fd
        self.pair = pair
        self.peer: Side | None = None
        self.is_open = True
        self.readable = False
        self.ended = False
        self.unsent = b""
        """Bytes read from the peer that this side has not taken yet."""
        self.writes_reported = writes_reported

    def end_stream(self) -> None:
        """Tell the other end that nothing more is sent."""
        connection = socket.socket(fileno=self.fd)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other end has gone already, which reading will tell
                raise
        finally:
            connection.detach()


class Pair(Owed):
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "backend",
        "client",
        "connected",
        "half_closed",
        "over",
        "request",
        "target",
        "untried",
        "waits_since_s",
    )

    target: Target
    """The backend that was tried last; there is none before the first is."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.client = Side(fd, self, writes_reported=False)
        self.backend: Side | None = None
        self.untried: Iterator[Target] = iter(())
        """The backends that may still be tried; known when the first bytes have arrived."""
        self.request = b""
        """What waits until there is a descriptor for its backend's connection."""
        self.waits_since_s: float | None = None
        """Since when it has waited for that, by time.monotonic; None if it never has."""
        self.connected = False
        self.half_closed = False
        """The client has ended its stream; the backend is told when it has got all."""
        self.over = False
        """The exchange has ended; the client still has to take what is unsent."""

    @property
    def awaits_client(self) -> bool:
        """Whether it is the client that is to move: it does not take what it is sent, or stopped within its request."""
        if self.client.unsent:
            return True
        if self.backend is None or not self.connected or self.backend.unsent:
            return False
        return not (self.requests.may_be_answered or self.half_closed)
