"""Moves bytes from one side of a pair to the other, until the exchange has ended.

Back-pressure is one rule: a side is read only while its peer has nothing unsent. So a pair never holds more
than one read's bytes each way, however large a message is and however slowly it is taken.
"""

import os
import select

from impls import counters
from impls.contract import BAD_GATEWAY, RELAY_SIZE
from impls.epoll_raw.pair import ALL_EVENTS, Pair, Side
from impls.epoll_raw.pair_backends import PairBackends
from impls.epoll_raw.pair_clients import PairClients
from impls.epoll_raw.turn import Turn
from impls.locality import Sample
from impls.worker import Worker

TURN_READS = 16
"""Reads of one side before the other connections have their turn."""


class PairRelay:
    """Reads and writes for all pairs of a worker."""

    def __init__(
        self,
        worker: Worker,
        epoll: select.epoll,
        turn: Turn,
        clients: PairClients,
        backends: PairBackends,
        sample: Sample | None,
    ) -> None:
        """``sample`` is of the backends."""
        self._keepalive = worker.options.keepalive
        self._row = worker.counters
        self._log = worker.log
        self._debug = worker.options.debug
        self._epoll = epoll
        self._turn = turn
        self._clients = clients
        self._backends = backends
        self._sample = sample
        self._moved_s, self._waiting = clients.moved_s, backends.waiting

    # Reading, on either side

    def read(self, side: Side) -> None:
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
            if self._sample and data and side is side.pair.backend:
                self._sample.skip -= 1
                if self._sample.skip < 0:
                    self._sample.ask(side.fd)
            self.arrived(side, data)
            if not side.is_open:
                return
        if side.readable:
            self._turn.unfinished.append(side)

    def arrived(self, side: Side, data: bytes) -> None:
        """Take what was read from a side, which is nothing when its stream has ended."""
        if not data or (len(data) < RELAY_SIZE and not side.ended):
            side.readable = False
        if data:
            self._moved_s[side.pair] = self._turn.now_s
        if side is side.pair.client:
            self._from_client(side.pair, data)
        else:
            self._from_backend(side.pair, data)

    def _from_client(self, pair: Pair, data: bytes) -> None:
        if pair.over:
            # What comes now is read only so that the close sends no reset.
            if data:
                self._clients.sent_more(pair.client)
                return
            pair.half_closed = True
            if not pair.client.unsent:
                self._clients.drop(pair.client)
        elif data:
            pair.requests.feed(data)
            if pair.backend is None:
                pair.untried = iter(self._backends.order())
                self.connect(pair, data)
            else:
                self._backends.replying.start(pair)
                self._send(pair.backend, data)
        elif pair.backend is None:
            self.end(pair)
        else:
            pair.half_closed = True
            self._backends.replying.start(pair)
            if not pair.backend.unsent:
                pair.backend.end_stream()

    def _from_backend(self, pair: Pair, data: bytes) -> None:
        if not data:
            self.end(pair, self._backends.failures.ended(pair.target, pair, cleanly=True))
            return
        completed = pair.replied(data)
        self._row[counters.REQUESTS] += completed
        self._send(pair.client, data)
        if pair.over:
            return
        if completed and (not self._keepalive or (self._clients.is_stopping and not pair.owes)):
            self.end(pair)
        elif pair.owes or pair.half_closed:
            self._backends.replying.start(pair)
        else:
            self._backends.replying.pop(pair, None)

    def _read_failed(self, side: Side, error: OSError) -> None:
        if self._debug:
            self._log.line(f"error {side.fd} {error.strerror}")
        side.readable = False
        if side is side.pair.backend:
            self.end(side.pair, self._backends.failures.ended(side.pair.target, side.pair, cleanly=False))
        else:
            self._row[counters.ERROR_READ] += 1
            self.abandon(side.pair)

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
            if side is side.pair.client:
                self._clients.has_left(side)
            if not side.writes_reported:
                side.writes_reported = True
                self._epoll.modify(side.fd, ALL_EVENTS)

    def flush(self, side: Side) -> None:
        """Hand a side what it had not taken, as there is room for it."""
        data, side.unsent = side.unsent, b""
        self._send(side, data)
        if side.is_open and len(side.unsent) < len(data):
            self._moved_s[side.pair] = self._turn.now_s
        if not side.unsent and side is side.pair.client:
            self._clients.has_taken_all(side)
        if not side.unsent and side.is_open:
            self._drained(side)

    def _drained(self, side: Side) -> None:
        """Go on with what waited until a side had nothing unsent."""
        pair = side.pair
        if pair.over:
            self._clients.close(pair.client)
        elif side is pair.backend and pair.half_closed:
            side.end_stream()
        elif side.peer is not None and side.peer.readable:
            self.read(side.peer)

    def _write_failed(self, side: Side, error: OSError) -> None:
        if self._debug:
            self._log.line(f"error {side.fd} {error.strerror}")
        if side is side.pair.backend:
            # A backend that takes no more may have answered already: what it sent is read before its end.
            side.readable = side.ended = True
            self._turn.unfinished.append(side)
        else:
            self._row[counters.ERROR_WRITE] += 1
            self.abandon(side.pair)

    # The beginning and the end of an exchange

    def connect(self, pair: Pair, request: bytes) -> None:
        """Go on to the next backend, or tell the client that there is none left."""
        if not self._backends.connect(pair, request):
            self.end(pair, BAD_GATEWAY)

    def connect_reported(self, pair: Pair, backend: Side) -> None:
        """Send the request, which also tells whether the backend accepted."""
        request = backend.unsent
        try:
            sent = os.write(backend.fd, request)
        except BlockingIOError:
            return
        except OSError as error:
            if not self._answered_unasked(pair, backend):
                self._backends.not_accepted(pair, error)
                self.connect(pair, request)
            return
        if self._debug:
            self._log.wrote(backend.fd, sent)
        self._backends.accepted(pair)
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
        self._backends.accepted(pair)
        backend.unsent = b""
        backend.readable = backend.ended = True
        self.arrived(backend, data)
        return True

    def end(self, pair: Pair, last_words: bytes = b"") -> None:
        """End the exchange: close the backend now, and the client when it has taken all, ``last_words`` included."""
        pair.over = True
        self._backends.leave(pair)
        if last_words:
            self._send(pair.client, last_words)
        if pair.client.is_open and not pair.client.unsent:
            self._clients.close(pair.client)

    def abandon(self, pair: Pair) -> None:
        """Close both sides of a pair whose client has gone."""
        self._clients.drop(pair.client)
        self.end(pair)
