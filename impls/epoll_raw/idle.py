"""Idle connections: when to look for them, and how those are closed that a client does not read from."""

import socket

from impls.epoll_raw.alarm import Alarm
from impls.listeners import RESET_ON_CLOSE

_SHORTEST_S, _LONGEST_S = 0.1, 1.0


class Looks:
    """When to look through all connections for idle ones: seldom, and early enough for each.

    No timer is kept for a connection, only when something last moved on it. A look takes a time that grows with the
    number of connections, so the next one is when the one that has been quiet for longest can have reached its limit:
    with 60 s about every 60 s, however many requests there are meanwhile.
    """

    def __init__(self, limit_s: float) -> None:
        """``limit_s`` is how long nothing may move on a connection. Raises OSError."""
        self.limit_s = limit_s
        self.every_s = min(max(limit_s / 10, _SHORTEST_S), _LONGEST_S)
        """How long a connection may be open beyond its limit: looks are not closer together."""
        self.next_s = 0.0
        """By time.monotonic; until then there is none that is idle."""
        self.alarm = Alarm()
        """Goes off then."""

    def looked(self, now_s: float, oldest_s: float, *, soon: bool) -> None:
        """Set the next look; ``oldest_s`` is the last movement of the connection on which it is longest ago."""
        due_s = now_s if soon else oldest_s + self.limit_s
        self.next_s = max(due_s, now_s + self.every_s)
        self.alarm.set(self.next_s)

    def soon(self, now_s: float) -> None:
        """Look often from now on, as a client does not take its reply: whether it goes on shows in its queue alone."""
        if self.next_s > now_s + self.every_s:
            self.next_s = now_s + self.every_s
            self.alarm.set(self.next_s)


def reset_on_close(fd: int) -> None:
    """Have the close of a connection give up what its client does not take, which the kernel would keep for minutes."""
    connection = socket.socket(fileno=fd)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.detach()
