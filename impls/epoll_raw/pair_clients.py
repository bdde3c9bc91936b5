"""The clients of pairs, from when they are taken in until they are closed."""

from impls.contract import LINGER_MOST_S, LINGER_S
from impls.epoll_raw.deadlines import Deadlines
from impls.epoll_raw.idle import Looks
from impls.epoll_raw.pair import Pair, Side
from impls.epoll_raw.turn import Turn
from impls.queues import unread, untaken
from impls.worker import Worker


class PairClients:
    """Knows when something last moved on each client's connection, and closes it so that no reply is lost."""

    def __init__(self, worker: Worker, turn: Turn, looks: Looks) -> None:
        self._keepalive = worker.options.keepalive
        self._turn = turn
        self._looks = looks
        self.is_stopping = False
        self.moved_s: dict[Pair, float] = {}
        """When something last moved on each pair whose client is open, by time.monotonic."""
        self.untaken: dict[Pair, int] = {}
        """Those whose client does not take what it is sent, and how much the kernel kept of it at the last look."""
        # Clients that are read on from: since they last sent something, and since that began.
        self._lingering = Deadlines[Side](LINGER_S, turn)
        self._lingering_at_all = Deadlines[Side](LINGER_MOST_S, turn)

    @property
    def has_deadlines(self) -> bool:
        """Whether any time limit is running."""
        return bool(self._lingering)

    def adopt(self, fd: int) -> Side:
        """Make a pair of a client's connection, which does not block."""
        pair = Pair(fd)
        self._turn.sides[fd] = pair.client
        self.moved_s[pair] = self._turn.now_s
        return pair.client

    # Whether they take what they are sent

    def has_left(self, client: Side) -> None:
        """Take it that a client did not take all that it was sent."""
        if client.pair not in self.untaken:
            self.untaken[client.pair] = untaken(client.fd)
            self._looks.soon(self._turn.now_s)

    def has_taken_all(self, client: Side) -> None:
        """Take it that there is nothing unsent any more."""
        self.untaken.pop(client.pair, None)

    def look_what_is_taken(self) -> None:
        """Ask the kernel which of those that did not take all have taken something since the last look."""
        for pair, before in self.untaken.items():
            self.untaken[pair] = untaken(pair.client.fd)
            if self.untaken[pair] != before:
                self.moved_s[pair] = self._turn.now_s

    # The end of a client's connection

    def close(self, client: Side) -> None:
        """Close it, or while it may be sending what nobody read, end the stream and read on (RFC 9112, 9.6)."""
        pair = client.pair
        # A client that keeps its connection may be about to ask again; when the worker stops, that must hold up nobody.
        is_last = not unread(client.fd) if self.is_stopping else not (client.readable or self._keepalive)
        if pair.half_closed or (pair.requests.whole and is_last):
            self.drop(client)
        else:
            client.end_stream()
            self._lingering.start(client)
            self._lingering_at_all.start(client)
            self._turn.unfinished.append(client)

    def sent_more(self, client: Side) -> None:
        """Take it that a client sent something which is read only so that the close sends no reset."""
        if client in self._lingering:
            self._lingering.start(client)

    def drop(self, client: Side) -> None:
        """Close it at the end of the turn, unless it has been dropped before."""
        if client.is_open:
            del self.moved_s[client.pair]
            self.untaken.pop(client.pair, None)
            self._lingering.pop(client, None)
            self._lingering_at_all.pop(client, None)
            self._turn.drop(client)

    def end_lingering(self) -> None:
        """Close those that have been read on from for long enough."""
        for deadlines in (self._lingering, self._lingering_at_all):
            for client in deadlines.overdue():
                self.drop(client)
