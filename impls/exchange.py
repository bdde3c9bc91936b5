"""How far the exchange of a client with a backend has come, and what follows: what is owed, and who is to move.

Nothing here reads, writes or waits: an implementation tells of what it has seen, and asks.
"""

from impls.framing import ReplyFraming, RequestFraming


class Owed:
    """What the backend owes: the requests of one pair of connections, and the replies to them."""

    __slots__ = ("replies", "requests")

    def __init__(self) -> None:
        self.requests = RequestFraming()
        self.replies = ReplyFraming()

    def replied(self, data: bytes) -> int:
        """Take the next bytes from the backend and return how many replies became complete with them."""
        completed = self.replies.feed(data)
        if completed:
            self.requests.answered(completed)
        return completed

    @property
    def owes(self) -> bool:
        """Whether the backend owes a reply, or the rest of one."""
        return self.requests.unanswered > 0 or not self.replies.between


class Exchange(Owed):
    """All that one pair of connections carries, from the first request to the last reply."""

    __slots__ = ("delivering", "half_closed", "unread", "unsent")

    def __init__(self) -> None:
        super().__init__()
        self.half_closed = False
        """The client has ended its stream, or has gone."""
        self.delivering = False
        """The client is being sent a part of the reply: when it is slow, that is not the backend's fault."""
        self.unread = False
        """The client may have sent what nobody has read."""
        self.unsent = True
        """The backend has still to accept, or to take what there is of the request."""

    @property
    def is_unused(self) -> bool:
        """Whether it could end here and nobody would miss anything, unless another request is on its way."""
        return not (self.owes or self.delivering)

    @property
    def awaits_client(self) -> bool:
        """Whether it is the client that is to move: it takes its reply slowly, or has stopped within its request."""
        return self.delivering or not (self.unsent or self.half_closed or self.requests.may_be_answered)

    @property
    def awaits_backend(self) -> bool:
        """Whether it is the backend that is to move, which has time limits of its own."""
        return self.owes and not self.awaits_client

    def may_send_more(self, *, keepalive: bool) -> bool:
        """Tell whether the client may be sending what nobody will read, so that a close could destroy its reply."""
        return not self.half_closed and (self.unread or keepalive or not self.requests.whole)
