"""Proxy mode on gevent.

Why this looks as it does
-------------------------
The client's own greenlet relays replies; one more relays what the client goes on to send, which it may do at any time.
Most send one request and wait, so a watcher starts it when there is something to relay, as ``StreamServer`` starts the
first. An exchange then takes 294,000 instructions; with a second greenlet that waits from the start 350,000, and an
mmap and a munmap more (README.md says how to count). Each greenlet waits in the library's blocking calls. A wait is
ended from outside by closing the connection it waits on, which the library turns into an OSError there; so a flag set
before says why.
"""

import errno
import math
import os
import socket
import time

import gevent
from gevent.hub import get_hub
from gevent.lock import BoundedSemaphore

from impls import counters, locality
from impls.addresses import Address
from impls.backends import Backends
from impls.connections import Connections
from impls.contract import BAD_GATEWAY, RELAY_SIZE
from impls.descriptors import EXHAUSTED, RETRY_S, Reserve
from impls.exchange import Exchange
from impls.failures import Failures
from impls.gevent.accept import READABLE, Connection, Handler, Peer
from impls.gevent.linger import linger
from impls.gevent.turn import SMALL_PIECE, Turn
from impls.gevent.unread import Unread
from impls.listeners import open_backend_socket
from impls.worker import Worker


def relaying(worker: Worker, connections: Connections[Connection]) -> Handler:
    """Make the handler that relays between one client and a backend of its own."""
    common = _Common(worker, connections)

    def relay(client: Connection, _: Peer) -> None:
        _Pair(common, client).run()

    return relay


class _Common:
    """What a worker's pairs have in common."""

    def __init__(self, worker: Worker, connections: Connections[Connection]) -> None:
        self.worker = worker
        self.connections = connections
        options = worker.options
        self.backends = Backends(options.backends, options.backend_rest_s, options.connect_timeout_s, worker.counters)
        self.failures = Failures(self.backends, worker.counters, worker.log)
        self.turn = Turn()
        self.unread = Unread(_Pair.has_gone)
        self.sample = locality.of_backends(worker)
        self._reserve = Reserve()
        self._waiting = 0
        self._trying = BoundedSemaphore()
        """Of those who wait for a descriptor one tries, and the others wait for that one."""

    def open_backend(self, address: Address, pair: "_Pair") -> socket.socket:
        """Make a socket; without a descriptor for it, wait for one until the pair's time for that is over.

        Raises TimeoutError then, and OSError when it cannot be made for another reason.
        """
        try:
            return open_backend_socket(address, lean=self.worker.options.lean)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.worker.log.backend_socket_failed(error)
        now_s = time.monotonic()
        pair.wait_until_s = min(pair.wait_until_s, now_s + self.worker.options.connect_timeout_s)
        self._waiting += 1
        self.connections.hold()
        try:
            if not self._trying.acquire(timeout=max(0.0, pair.wait_until_s - now_s)):
                raise TimeoutError
            try:
                return self._open_when_possible(address, pair.wait_until_s)
            finally:
                self._trying.release()
        finally:
            self._waiting -= 1
            if not self._waiting:
                gevent.spawn(self._have_reserve)

    def _open_when_possible(self, address: Address, until_s: float) -> socket.socket:
        while True:
            self._reserve.give()
            try:
                return open_backend_socket(address, lean=self.worker.options.lean)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
            if time.monotonic() >= until_s:
                raise TimeoutError
            gevent.sleep(RETRY_S)

    def _have_reserve(self) -> None:
        """Accept again when there is a descriptor in reserve again."""
        while not self._waiting:
            if self._reserve.renew():
                self.connections.release()
                return
            gevent.sleep(RETRY_S)


class _Pair:
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "_address", "_backend", "_client", "_common", "_connections", "_debug", "_failing", "_failures", "_forwarder",
        "_keepalive", "_late", "_log", "_more", "_options", "_orders", "_over", "_row", "_sample", "_timer", "_turn",
        "_unread", "exchange", "wait_until_s",
    )  # fmt: skip

    def __init__(self, common: _Common, client: Connection) -> None:
        worker = common.worker
        self._options = worker.options
        self._row = worker.counters
        self._log = worker.log
        self._debug = worker.options.debug
        self._keepalive = worker.options.keepalive
        self._orders = worker.orders
        self._common = common
        self._failures = common.failures
        self._connections = common.connections
        self._turn = common.turn
        self._unread = common.unread
        self._sample = common.sample
        self._client = client
        self.exchange = Exchange()
        self._late = False
        """The backend has been silent for too long."""
        self._over = False
        """The exchange has ended, or the client has gone; what is closed from here on is closed on purpose."""
        self._failing = counters.ERROR_READ
        """The counter of what is done with the client now, should it fail."""
        self._forwarder: gevent.Greenlet[..., None] | None = None
        self.wait_until_s = math.inf
        """Until when it may wait for descriptors, by time.monotonic; known when it first has to."""

    def run(self) -> None:
        """Relay until the exchange has ended and the client has taken all of it."""
        client = self._client
        fd = client.fileno()
        try:
            request = client.recv(RELAY_SIZE)
            if self._debug:
                self._log.read(fd, request)
            if request:
                self.exchange.requests.feed(request)
                self._connections.pairs[client] = self
                self._relay(request)
                if self.exchange.may_send_more(keepalive=self._keepalive):
                    self._failing = counters.ERROR_READ
                    if self._forwarder is not None:
                        self._forwarder.kill()  # only one greenlet can wait for a connection
                        # It keeps what ended it, and with the traceback this pair: garbage only a collection frees.
                        self._forwarder = None
                    linger(client, self._connections, self._turn, self._log if self._debug else None)
        except OSError as error:
            self._connections.failed(client, error, self._failing)
        client.close()
        self._connections.forget(client)
        if self._debug:
            self._log.closed(fd)

    def _relay(self, request: bytes) -> None:
        """Relay with the first backend that accepts, until the client has got all."""
        for address in self._common.backends.turn():
            self._address = address
            try:
                unconnected = self._common.open_backend(address, self)
            except TimeoutError:
                self._send_last(self._failures.untried_in_time(address))
                return
            except OSError as error:
                self._failures.untried(address, error)
                continue
            self._backend = Connection(
                unconnected.family, unconnected.type, unconnected.proto, fileno=unconnected.detach()
            )
            fd = self._backend.fileno()
            try:
                last = self._relay_with(self._backend, request)
                if last:
                    self._send_last(last)
            finally:
                self._backend.close()
                if self._debug:
                    self._log.closed(fd)
            if last is not None:
                return
        self._send_last(BAD_GATEWAY)

    def _send_last(self, data: bytes) -> None:
        """Send the end of what the client gets. It may first send all of its request, so that is read meanwhile."""
        self._failing = counters.ERROR_WRITE
        self.exchange.delivering = True
        self._moved()
        sent = self._client.send(data)
        if self._debug:
            self._log.wrote(self._client.fileno(), sent)
        if sent < len(data):
            if self.exchange.may_send_more(keepalive=self._keepalive) and not self._forwarder:
                self._forwarder = gevent.spawn(self._discard)
            self._send_all(self._client, data[sent:])

    def _relay_with(self, backend: Connection, request: bytes) -> bytes | None:
        """Return what the client must still be sent; None when the backend has refused."""
        address, limit_s = self._address, self._options.reply_timeout_s
        backend.settimeout(self._options.connect_timeout_s)
        is_connected = False
        try:
            backend.connect((address.host, address.port))
            is_connected = True
            if self._common.backends.on_trial:
                self._common.backends.accepted(address)
            backend.settimeout(None)
            sent = self._send_first(backend, request)
        except TimeoutError:
            return self._failures.not_accepted(address)
        except OSError as error:
            self._failures.refused(address, error, is_connected=is_connected)
            return None
        if self._debug:
            self._log.wrote(backend.fileno(), sent)
        self.exchange.unsent = sent < len(request)
        loop = get_hub().loop
        self._timer = loop.timer(limit_s, repeat=limit_s)
        self._watch()
        self._more = loop.io(self._client.fileno(), READABLE)
        if sent < len(request):
            self._forwarder = gevent.spawn(self._forward_requests, backend, request[sent:])
        else:
            self._more.start(self._begin_forwarding, backend)
        last = self._forward_replies(backend)
        self._over = True
        self._more.close()
        self._timer.close()
        return last

    def _send_first(self, backend: Connection, request: bytes) -> int:
        """Send what there is of the request; a backend that has answered and gone by now has taken all of it.

        Raises OSError when it has gone without an answer.
        """
        try:
            return backend.send(request)
        except OSError:
            if not backend.recv(1, socket.MSG_PEEK):
                raise
            return len(request)

    def _begin_forwarding(self, backend: Connection) -> None:
        """Take the event that the client has sent more, or has ended its stream; the loop calls this."""
        self._more.stop()
        self.exchange.unread = True
        self._forwarder = gevent.spawn(self._forward_requests, backend, b"")

    def _forward_requests(self, backend: Connection, unsent: bytes) -> None:
        client = self._client
        fd = client.fileno()
        while True:
            if unsent:
                if not self._forward(backend, unsent):
                    self._discard()
                    return
                if len(unsent) > SMALL_PIECE:
                    self._turn.moved(self)
            try:
                data = client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            if self._over:
                self.exchange.half_closed = not data
                if data:
                    self._discard()
                return
            self._watch()
            if not data:
                self._forward_end(backend)
                self._unread.add(self)
                return
            self._moved()
            self.exchange.requests.feed(data)
            self.exchange.unread = False
            unsent = data

    def _forward(self, backend: Connection, data: bytes) -> bool:
        """Send the backend a part of the request; tell whether it takes more."""
        self.exchange.unread = self.exchange.unsent = True
        self._unread.add(self)
        try:
            self._send_all(backend, data)
        except OSError as error:
            # What the backend sent before it stopped to listen is still read, then its end.
            if self._debug and not self._over:
                self._log.line(f"error {backend.fileno()} {error.strerror}")
            return False
        finally:
            self._unread.discard(self)
        self.exchange.unread = self.exchange.unsent = False
        return True

    def _discard(self) -> None:
        """Read on from a client, of whose request the backend takes no more, so that it gets to read the reply."""
        fd = self._client.fileno()
        while not self.exchange.half_closed:
            try:
                data = self._client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            self._moved()
            self.exchange.half_closed = not data
            self._turn.moved(self)

    def _forward_end(self, backend: Connection) -> None:
        self.exchange.half_closed = True
        try:
            backend.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other end has gone already, which reading will tell
                raise

    def _forward_replies(self, backend: Connection) -> bytes:  # noqa: C901  a call for a step would cost each piece
        fd = backend.fileno()
        exchange = self.exchange
        while True:
            try:
                data = backend.recv(RELAY_SIZE)
            except OSError as error:
                return self._backend_lost(fd, error)
            if self._debug:
                self._log.read(fd, data)
            if not data:
                return self._failures.ended(self._address, exchange, cleanly=True)
            sample = self._sample
            if sample:
                sample.skip -= 1
                if sample.skip < 0:
                    sample.ask(fd)
            completed = exchange.replied(data)
            self._row[counters.REQUESTS] += completed
            if completed and not self._keepalive:
                return data
            try:
                self._deliver(data)
            except OSError as error:
                self._client_left(error, counters.ERROR_WRITE)
                return b""
            self.exchange.delivering = False
            if self.exchange.owes or self.exchange.half_closed:
                self._watch()
            else:
                self._timer.stop()
                if self._orders.to_stop:
                    self._connections.end_unused(self._client)
            if len(data) > SMALL_PIECE:
                self._turn.moved(self)

    def _moved(self) -> None:
        """Take note that something has moved on the client's connection."""
        self._connections.moved[self._client] = self._connections.sweeps

    def _deliver(self, data: bytes) -> None:
        self.exchange.delivering = True
        self._moved()
        self._send_all(self._client, data)

    def _backend_lost(self, fd: int, error: OSError) -> bytes:
        """Take an error of the backend's connection, which may be one that was made here to end the wait for it."""
        if not self._over:
            if self._debug:
                self._log.line(f"error {fd} {error.strerror}")
            return self._failures.ended(self._address, self.exchange, cleanly=False)
        return self._failures.silent(self._address, self.exchange) if self._late else b""

    def has_gone(self) -> bool:
        """Tell whether the exchange has ended, and end it where the client has reset: to be asked while it is unread.

        A client that has ended its stream is readable for ever, and one whose request the backend does not take is not
        watched.
        """
        if not self._over:
            number = self._client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._client_left(OSError(number, os.strerror(number)))
        return self._over

    def _client_left(self, error: OSError, kind: int = counters.ERROR_READ) -> None:
        """Take an error of the client's connection, unless it is its close, and end the exchange."""
        if self._over:
            return
        self._connections.failed(self._client, error, kind)
        self.end()

    def end(self) -> None:
        """End the exchange without a word, as nothing of the client's is unread."""
        self._over = self.exchange.half_closed = True
        self._backend.close()

    def _watch(self) -> None:
        """Give the backend the full reply time from now on."""
        self._timer.again(self._reply_time_over)

    def _reply_time_over(self) -> None:
        if not self.exchange.awaits_client:
            self._late = self._over = True
            self._backend.close()

    def _send_all(self, connection: Connection, data: bytes) -> None:
        while True:
            sent = connection.send(data)
            if self._debug:
                self._log.wrote(connection.fileno(), sent)
            if sent == len(data):
                return
            self._moved()
            data = data[sent:]
