"""A client's connection and its backend's, and how far their exchange has come; ``pairs.py`` moves it on."""

from collections.abc import Iterator

from impls.epoll_raw.backend_sockets import Target
from impls.framing import ReplyFraming, RequestFraming


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


class Pair:
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "backend", "client", "connected", "framing", "half_closed", "over", "request", "requests", "target", "untried",
        "waits_since_s",
    )  # fmt: skip

    def __init__(self, fd: int) -> None:
        self.client = Side(fd, self, writes_reported=False)
        self.backend: Side | None = None
        self.target: Target | None = None
        """The backend that was tried last."""
        self.untried: Iterator[Target] = iter(())
        """The backends that may still be tried; known when the first bytes have arrived."""
        self.request = b""
        """What waits until there is a descriptor for its backend's connection."""
        self.waits_since_s: float | None = None
        """Since when it has waited for that, by time.monotonic; None if it never has."""
        self.connected = False
        self.framing = ReplyFraming()
        self.requests = RequestFraming()
        self.half_closed = False
        """The client has ended its stream; the backend is told when it has got all."""
        self.over = False
        """The exchange has ended; the client still has to take what is unsent."""

    @property
    def owes(self) -> bool:
        """Whether the backend owes a reply, or the rest of one."""
        return self.requests.unanswered > 0 or not self.framing.between

    @property
    def awaits_request(self) -> bool:
        """Whether it is the client that is to move, as it has stopped within its request."""
        if self.backend is None or not self.connected or self.backend.unsent:
            return False
        return not (self.requests.may_be_answered or self.half_closed)
