"""Pairs of connections in every state that an exchange can be in; ``proxy.py`` has the usual one.

Why this looks as it does
-------------------------
A client's connection and its backend's are two ``Side`` objects that point at each other (``pair.py``). Both are
registered edge-triggered, which saves an epoll_ctl(2) for each change of state. In return a side remembers that it may
hold unread bytes (``readable``) until a read comes up short: on a stream socket that means an empty buffer (epoll(7),
question 9), unless the end of the stream was reported with it (``ended``).

Back-pressure is one rule: a side is read only while its peer has nothing unsent. So a pair never holds more
than one read's bytes each way, however large a message is and however slowly it is taken.

A descriptor closed half-way through a batch of events could be given out anew within that batch and get its
predecessor's event. So those of pairs are closed at the end of the batch, and an event for a side that is no longer
known is dropped.
"""

import errno
import itertools
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from impls import counters
from impls.addresses import Address
from impls.backends import Backends
from impls.contract import BAD_GATEWAY, GATEWAY_TIMEOUT, LINGER_MOST_S, LINGER_S, RELAY_SIZE
from impls.descriptors import EXHAUSTED, OWN_WANT, Reserve
from impls.epoll_raw import idle
from impls.epoll_raw.backend_sockets import Target, bound_unsent
from impls.epoll_raw.pair import Pair, Side
from impls.listeners import open_backend_socket
from impls.queues import unread, untaken
from impls.worker import Worker

TICK_S = 0.1
"""How often time limits are looked at while any is running."""
TURN_READS = 16
"""Reads of one side before the other connections have their turn."""

_T = TypeVar("_T")
_GONE = select.EPOLLHUP | select.EPOLLERR
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ARRIVED = select.EPOLLIN | _ENDED
READ_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
ALL_EVENTS = READ_EVENTS | select.EPOLLOUT


class Pairs:
    """The pairs of a worker, and what its loop has to call for them."""

    def __init__(
        self,
        worker: Worker,
        epoll: select.epoll,
        backends: Backends[Target],
        looks: idle.Looks,
        rest_from_accepting: Callable[[], None],
    ) -> None:
        """``rest_from_accepting`` is called when there is no descriptor for a connection to a backend."""
        self._options = worker.options
        self._row = worker.counters
        self._log = worker.log
        self._debug = worker.options.debug
        self._backends = backends
        self._epoll = epoll
        self._looks = looks
        self._rest_from_accepting = rest_from_accepting
        self.moved_s: dict[Pair, float] = {}
        """When something last moved on each pair whose client is open, by time.monotonic."""
        self.untaken: dict[Pair, int] = {}
        """Those whose client does not take what it is sent, and how much the kernel kept of it at the last look."""
        self._is_stopping = False
        self._reserve = Reserve()
        self.is_starved = False
        """There was no descriptor for a backend's connection; until there is one in reserve, none is to be accepted."""
        self.sides: dict[int, Side] = {}
        """By descriptor."""
        self._to_close: list[int] = []
        self._unfinished: list[Side] = []
        """Sides that used up their turn with bytes left to read; edge-triggered, they are not reported again."""
        # Time limits. Each is the same for all in a table, so the table's order is that of the deadlines.
        self._waiting: dict[Pair, float] = {}
        """Those for whose backend's connection there was no descriptor."""
        self._connecting: dict[Pair, float] = {}
        self._watched: dict[Pair, float] = {}
        self._lingering: dict[Side, float] = {}
        """Clients that are read on from, and when they last sent something."""
        self._lingering_since: dict[Side, float] = {}
        self._now = time.monotonic()

    @property
    def wait_s(self) -> float:
        """How long the poll may wait for the pairs' sake; less than 0 for without end."""
        if self._unfinished:
            return 0
        return TICK_S if self.is_starved or self._connecting or self._watched or self._lingering else -1

    # The turn of the loop

    def begin_turn(self, now_s: float) -> None:
        """Go on with what was left unfinished; ``now_s`` (time.monotonic) is the time for this turn."""
        self._now = now_s
        unfinished, self._unfinished = self._unfinished, []
        for side in unfinished:
            if side.is_open:
                self._read(side)

    def end_turn(self) -> None:
        """Close what has ended, now that no event of the turn can be for it any more."""
        for fd in self._to_close:
            os.close(fd)
        self._to_close.clear()

    # Connections that come here

    def adopt(self, fd: int) -> Side:
        """Take a client's connection, blocking and registered for READ_EVENTS."""
        os.set_blocking(fd, False)
        pair = Pair(fd)
        self.sides[fd] = pair.client
        self.moved_s[pair] = self._now
        return pair.client

    def begin(self, fd: int, request: bytes, order: Sequence[Target]) -> None:
        """Take a client's connection with its request, for which the backends are to be tried in this order."""
        pair = self.adopt(fd).pair
        pair.requests.feed(request)
        pair.untried = iter(order)
        self._connect(pair, request)

    def finish(self, fd: int, rest: bytes) -> None:
        """Take a client's connection that needs no more than the rest of its reply."""
        client = self.adopt(fd)
        client.pair.over = True
        self._send(client, rest)
        if client.is_open and not client.unsent:
            self._close_client(client.pair)

    def adopt_exchange(self, client: int, backend: int, order: Sequence[Target], request: bytes, *, sent: bool) -> Side:
        """Take an exchange with the first backend in ``order``, which was or is to be sent the request.

        Its time limit begins anew. Returns the backend's side.
        """
        pair = self.adopt(client).pair
        pair.target, pair.untried = order[0], iter(order[1:])
        pair.requests.feed(request)
        bound_unsent(backend)
        side = self._join(pair, backend)
        if sent:
            pair.connected = True
            self._watch(pair)
        else:
            side.unsent = request
            self._connecting[pair] = self._now
        return side

    def take(self, side: Side, data: bytes, event: int) -> None:
        """Take what was read from a side at an event of its own, and go on with it."""
        side.readable = True
        if event & _ENDED:
            side.ended = True
        self._arrived(side, data)
        if side.is_open:
            self._read(side)

    def handle(self, side: Side, event: int) -> None:
        """Take an event of a side."""
        pair = side.pair
        if event & _ARRIVED:
            side.readable = True
            if event & _ENDED:
                side.ended = True
        if side is pair.backend and not pair.connected:
            self._connect_reported(pair, side)
        elif event & select.EPOLLOUT and side.unsent:
            self._flush(side)
        if side.readable and side.is_open:
            self._read(side)
        if event & _GONE and side is pair.client and side.is_open and not pair.over:
            # Reset after it had ended its stream: a read returns just the end once more.
            self._row[counters.ERROR_READ] += 1
            self._abandon(pair)

    # Reading, on either side

    def _read(self, side: Side) -> None:
        """Move what has arrived on a side, while its peer takes it and its turn lasts."""
        for _ in range(TURN_READS):
            if not side.readable or (side.peer is not None and side.peer.unsent) or side.pair in self._waiting:
                return
            try:
                data = os.read(side.fd, RELAY_SIZE)
            except BlockingIOError:
                side.readable = False
                return
            except OSError as error:
                self._read_failed(side, error)
                return
            if self._debug:
                self._log.read(side.fd, data)
            self._arrived(side, data)
            if not side.is_open:
                return
        if side.readable:
            self._unfinished.append(side)

    def _arrived(self, side: Side, data: bytes) -> None:
        if not data or (len(data) < RELAY_SIZE and not side.ended):
            side.readable = False
        if data:
            self.moved_s[side.pair] = self._now
        if side is side.pair.client:
            self._from_client(side.pair, data)
        else:
            self._from_backend(side.pair, data)

    def _from_client(self, pair: Pair, data: bytes) -> None:
        if pair.over:
            # What comes now is read only so that the close sends no reset.
            if not data:
                pair.half_closed = True
                if not pair.client.unsent:
                    self._drop(pair.client)
            elif self._lingering.pop(pair.client, None):
                self._lingering[pair.client] = self._now
        elif data:
            pair.requests.feed(data)
            if pair.backend is None:
                pair.untried = iter(self._backends.turn())
                self._connect(pair, data)
            else:
                self._watch(pair)
                self._send(pair.backend, data)
        elif pair.backend is None:
            self._end(pair)
        else:
            pair.half_closed = True
            self._watch(pair)
            if not pair.backend.unsent:
                self._end_sending(pair.backend)

    def _from_backend(self, pair: Pair, data: bytes) -> None:
        if not data:
            self._backend_ended(pair, cleanly=True)
            return
        completed = pair.framing.feed(data)
        self._row[counters.REQUESTS] += completed
        pair.requests.answered(completed)
        self._send(pair.client, data)
        if pair.over:
            return
        if completed and (not self._options.keepalive or (self._is_stopping and not pair.owes)):
            self._end(pair)
            return
        if pair.owes or pair.half_closed:
            self._watch(pair)
        else:
            self._watched.pop(pair, None)

    def _read_failed(self, side: Side, error: OSError) -> None:
        if self._debug:
            self._log.line(f"error {side.fd} {error.strerror}")
        side.readable = False
        if side is side.pair.backend:
            self._backend_ended(side.pair, cleanly=False)
        else:
            self._row[counters.ERROR_READ] += 1
            self._abandon(side.pair)

    # Writing, on either side

    def _send(self, side: Side, data: bytes) -> None:
        """Hand bytes to a side that has nothing unsent; what it does not take waits for its next report."""
        try:
            sent = os.write(side.fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._write_failed(side, error)
            return
        if self._debug:
            self._log.wrote(side.fd, sent)
        if sent < len(data):
            side.unsent = data[sent:]
            if side is side.pair.client and side.pair not in self.untaken:
                self.untaken[side.pair] = untaken(side.fd)
                self._looks.soon(self._now)
            if not side.writes_reported:
                side.writes_reported = True
                self._epoll.modify(side.fd, ALL_EVENTS)

    def _flush(self, side: Side) -> None:
        data, side.unsent = side.unsent, b""
        self._send(side, data)
        if side.is_open and len(side.unsent) < len(data):
            self.moved_s[side.pair] = self._now
        if not side.unsent and side is side.pair.client:
            self.untaken.pop(side.pair, None)
        if not side.unsent and side.is_open:
            self._drained(side)

    def _drained(self, side: Side) -> None:
        """Go on with what waited until a side had nothing unsent."""
        pair = side.pair
        if pair.over:
            self._close_client(pair)
        elif side is pair.backend and pair.half_closed:
            self._end_sending(side)
        elif side.peer is not None and side.peer.readable:
            self._read(side.peer)

    def _write_failed(self, side: Side, error: OSError) -> None:
        if self._debug:
            self._log.line(f"error {side.fd} {error.strerror}")
        if side is side.pair.backend:
            # A backend that takes no more may have answered already: what it sent is read before its end.
            side.readable = side.ended = True
            self._unfinished.append(side)
        else:
            self._row[counters.ERROR_WRITE] += 1
            self._abandon(side.pair)

    def _end_sending(self, side: Side) -> None:
        connection = socket.socket(fileno=side.fd)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other end has gone already, which reading will tell
                raise
        finally:
            connection.detach()

    # The backend

    def _connect(self, pair: Pair, request: bytes) -> None:
        """Begin to connect to the next backend that does not refuse at once; the request follows when it accepts."""
        for target in pair.untried:
            pair.target, address = target, target.address
            try:
                connection = self._open_backend_socket(address)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    pair.untried = itertools.chain((target,), pair.untried)
                    self._wait_for_descriptor(pair, request, error)
                    return
                self._backend_failed(pair, counters.ERROR_BACKEND_REFUSED, f"could not be tried: {error.strerror}")
                continue
            result = connection.connect_ex((address.host, address.port))
            if result not in (0, errno.EINPROGRESS):
                connection.close()
                self._refused(pair, result)
                continue
            fd = connection.detach()
            self._waiting.pop(pair, None)
            self._join(pair, fd).unsent = request
            self._connecting[pair] = self._now
            self._epoll.register(fd, ALL_EVENTS)
            return
        self._end(pair, BAD_GATEWAY)

    def _open_backend_socket(self, address: Address) -> socket.socket:
        """Open a socket, for want of another descriptor with the one in reserve. Raises OSError."""
        try:
            return open_backend_socket(address, lean=self._options.lean)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.is_starved = True
            self._rest_from_accepting()
            if not self._reserve.give():
                raise
        return open_backend_socket(address, lean=self._options.lean)

    def _wait_for_descriptor(self, pair: Pair, request: bytes, error: OSError) -> None:
        """Keep a request until a connection has ended; none is accepted meanwhile, which would take its descriptor."""
        pair.request = request
        if pair.waits_since_s is None:
            pair.waits_since_s = self._now
        self._waiting[pair] = pair.waits_since_s
        self._log.backend_socket_failed(error)

    def _retry_waiting(self) -> None:
        begun_before_s = self._now - self._options.connect_timeout_s
        for pair, since_s in [*self._waiting.items()]:
            if since_s <= begun_before_s:
                self._backend_failed(pair, counters.ERROR_BACKEND_TIMEOUT, "could not be tried in time")
                self._end(pair, GATEWAY_TIMEOUT)
        for pair in [*self._waiting]:
            if not self._reserve.renew():
                return
            self._connect(pair, pair.request)
        self.is_starved = bool(self._waiting) or not self._reserve.renew()

    def _join(self, pair: Pair, fd: int) -> Side:
        """Make a connection the pair's backend."""
        backend = pair.backend = self.sides[fd] = Side(fd, pair, writes_reported=True)
        backend.peer, pair.client.peer = pair.client, backend
        return backend

    def _connect_reported(self, pair: Pair, backend: Side) -> None:
        """Send the request, which also tells whether the backend accepted."""
        request = backend.unsent
        try:
            sent = os.write(backend.fd, request)
        except BlockingIOError:
            return
        except OSError as error:
            del self._connecting[pair]
            if self._answered_unasked(pair, backend):
                return
            self._drop(backend)
            pair.backend = pair.client.peer = None
            self._refused(pair, error.errno or 0)
            self._connect(pair, request)
            return
        if self._debug:
            self._log.wrote(backend.fd, sent)
        self._accepted(pair)
        del self._connecting[pair]
        self._watch(pair)
        backend.unsent = request[sent:]
        if not backend.unsent:
            self._drained(backend)

    def _answered_unasked(self, pair: Pair, backend: Side) -> bool:
        """Take what a backend sent that accepted, and then reset the connection before it had got the request."""
        try:
            data = os.read(backend.fd, RELAY_SIZE)
        except OSError:
            return False
        if not data:
            return False
        if self._debug:
            self._log.read(backend.fd, data)
        self._accepted(pair)
        backend.unsent = b""
        self._watch(pair)
        self.take(backend, data, _ENDED)
        return True

    def _watch(self, pair: Pair) -> None:
        """Give the backend the full reply time from now on."""
        self._watched.pop(pair, None)
        self._watched[pair] = self._now

    def _backend_ended(self, pair: Pair, *, cleanly: bool) -> None:
        """Take the end of the backend's stream, or its reset, and decide what it means for the client."""
        if cleanly and pair.framing.end():
            self._row[counters.REQUESTS] += 1
            self._end(pair)
        elif not pair.framing.between:
            self._backend_failed(pair, counters.ERROR_BACKEND_BROKEN, "ended the connection within its reply")
            self._end(pair)
        elif pair.requests.unanswered:
            self._backend_failed(pair, counters.ERROR_BACKEND_BROKEN, "ended the connection without a reply")
            self._end(pair, BAD_GATEWAY)
        else:
            self._end(pair)

    def _backend_failed(self, pair: Pair, kind: int, what: str) -> None:
        self._row[kind] += 1
        self._log.problem(f"backend {pair.target.address if pair.target else None} {what}")

    def _refused(self, pair: Pair, number: int) -> None:
        """Take the error number that a connection to the pair's backend failed with."""
        if number not in OWN_WANT:
            self._leave_out(pair)
        elif pair.target is not None:
            self._backends.untried(pair.target)
        how = "could not be tried" if number in OWN_WANT else "refused"
        self._backend_failed(pair, counters.ERROR_BACKEND_REFUSED, f"{how}: {os.strerror(number)}")

    def _leave_out(self, pair: Pair) -> None:
        if pair.target is not None:
            self._backends.failed(pair.target)

    def _accepted(self, pair: Pair) -> None:
        """Take it that the pair's backend has accepted."""
        pair.connected = True
        if pair.target in self._backends.on_trial:
            self._backends.accepted(pair.target)

    # The end of a pair

    def _end(self, pair: Pair, last_words: bytes = b"") -> None:
        """End the exchange: close the backend now, and the client when it has taken all, ``last_words`` included."""
        pair.over = True
        if not pair.connected and pair.target is not None:
            self._backends.untried(pair.target)
        for table in (self._waiting, self._connecting, self._watched):
            table.pop(pair, None)
        if pair.backend is not None:
            self._drop(pair.backend)
            pair.client.peer = None
        if last_words:
            self._send(pair.client, last_words)
        if pair.client.is_open and not pair.client.unsent:
            self._close_client(pair)

    def _close_client(self, pair: Pair) -> None:
        """Close the client, or while it may be sending what nobody read, end the stream and read on (RFC 9112, 9.6)."""
        client = pair.client
        # A client that keeps its connection may be about to ask again; when the worker stops, that must hold up nobody.
        is_last = not unread(client.fd) if self._is_stopping else not (client.readable or self._options.keepalive)
        if pair.half_closed or (pair.requests.whole and is_last):
            self._drop(client)
        else:
            self._end_sending(client)
            self._lingering[client] = self._now
            self._lingering_since.setdefault(client, self._now)
            self._unfinished.append(client)

    def _abandon(self, pair: Pair) -> None:
        """Close both sides of a pair whose client has gone."""
        self._drop(pair.client)
        self._end(pair)

    def _drop(self, side: Side) -> None:
        if side.is_open:
            side.is_open = False
            del self.sides[side.fd]
            self._lingering.pop(side, None)
            self._lingering_since.pop(side, None)
            if side is side.pair.client:
                del self.moved_s[side.pair]
                self.untaken.pop(side.pair, None)
            self._to_close.append(side.fd)
            if self._debug:
                self._log.closed(side.fd)

    def stop(self) -> None:
        """End the kept connections that are owed nothing, and from now on each when it has its reply."""
        self._is_stopping = True
        for pair in [*self.moved_s]:
            is_due = pair.over or pair.owes or pair.client.unsent
            if pair.connected and not is_due and not unread(pair.client.fd):
                self._end(pair)

    # Time limits

    def end_idle(self) -> float:
        """Close the pairs that are idle; return when something last moved on the one that is nearest to it."""
        for pair, before in self.untaken.items():
            self.untaken[pair] = untaken(pair.client.fd)
            if self.untaken[pair] != before:
                self.moved_s[pair] = self._now
        oldest_s = self._now
        for pair, moved_s in [*self.moved_s.items()]:
            if pair.owes and not (pair.over or pair.client.unsent or pair.awaits_request):
                continue  # it is the backend's turn, which has limits of its own
            if moved_s > self._now - self._looks.limit_s:
                oldest_s = min(oldest_s, moved_s)
                continue
            self._row[counters.ERROR_IDLE] += 1
            if pair.client.unsent:
                idle.reset_on_close(pair.client.fd)
            self._abandon(pair)
        return oldest_s

    def expire(self) -> None:
        """End what has reached its time limit, and try again what waits for a descriptor."""
        if self.is_starved:
            self._retry_waiting()
        for pair in self._overdue(self._connecting, self._options.connect_timeout_s):
            self._leave_out(pair)
            self._backend_failed(pair, counters.ERROR_BACKEND_TIMEOUT, "did not accept the connection in time")
            self._end(pair, GATEWAY_TIMEOUT)
        for pair in self._overdue(self._watched, self._options.reply_timeout_s):
            if pair.client.unsent or pair.awaits_request:
                self._watch(pair)  # it is the client that is slow
                continue
            if pair.owes:
                self._backend_failed(pair, counters.ERROR_BACKEND_TIMEOUT, "did not answer in time")
            self._end(pair, GATEWAY_TIMEOUT if pair.owes and pair.framing.between else b"")
        for client in self._overdue(self._lingering, LINGER_S):
            self._drop(client)
        for client in self._overdue(self._lingering_since, LINGER_MOST_S):
            self._drop(client)

    def _overdue(self, table: dict[_T, float], limit_s: float) -> list[_T]:
        """List what has been in a table for longer than its limit."""
        started_before = self._now - limit_s
        return list(itertools.takewhile(lambda key: table[key] <= started_before, table))
