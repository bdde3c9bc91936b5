"""Proxy mode on trio."""

import errno
import math
import os
import socket

import trio

from impls import counters, locality
from impls.addresses import Address
from impls.backends import Backends
from impls.connections import Connections
from impls.contract import BAD_GATEWAY, RELAY_SIZE
from impls.descriptors import EXHAUSTED, RETRY_S, Reserve
from impls.exchange import Exchange
from impls.failures import Failures
from impls.listeners import open_backend_socket
from impls.trio.accept import Connection, Handler
from impls.trio.linger import linger
from impls.trio.unread import Unread
from impls.worker import Worker


def relaying(worker: Worker, connections: Connections[Connection]) -> Handler:
    """Make the handler that relays between one client and a backend of its own."""
    common = _Common(worker, connections)

    async def relay(client: Connection) -> None:
        await _Pair(common, client).run()

    return relay


class _Common:
    """What a worker's pairs have in common."""

    def __init__(self, worker: Worker, connections: Connections[Connection]) -> None:
        self.worker = worker
        self.connections = connections
        options = worker.options
        self.backends = Backends(options.backends, options.backend_rest_s, options.connect_timeout_s, worker.counters)
        self.failures = Failures(self.backends, worker.counters, worker.log)
        self.unread = Unread(_Pair.has_gone)
        self.sample = locality.of_backends(worker)
        self._reserve = Reserve()
        self._waiting = 0
        self._trying = trio.Lock()
        """Of those who wait for a descriptor one tries, and the others wait for that one."""

    async def open_backend(self, address: Address, pair: "_Pair") -> socket.socket:
        """Make a socket; without a descriptor for it, wait for one until the pair's time for that is over.

        Raises trio.TooSlowError then, and OSError when it cannot be made for another reason.
        """
        options = self.worker.options
        try:
            return open_backend_socket(address, lean=options.lean)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.worker.log.backend_socket_failed(error)
        pair.wait_until_s = min(pair.wait_until_s, trio.current_time() + options.connect_timeout_s)
        self._waiting += 1
        self.connections.hold()
        try:
            with trio.fail_at(pair.wait_until_s):
                async with self._trying:
                    return await self._open_when_possible(address)
        finally:
            self._waiting -= 1
            if not self._waiting:
                trio.lowlevel.spawn_system_task(self._have_reserve)

    async def _open_when_possible(self, address: Address) -> socket.socket:
        while True:
            self._reserve.give()
            try:
                return open_backend_socket(address, lean=self.worker.options.lean)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
            await trio.sleep(RETRY_S)

    async def _have_reserve(self) -> None:
        """Accept again when there is a descriptor in reserve again."""
        while not self._waiting:
            if self._reserve.renew():
                self.connections.release()
                return
            await trio.sleep(RETRY_S)


class _Pair:
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "_address",
        "_client",
        "_client_gone",
        "_common",
        "_connections",
        "_debug",
        "_failing",
        "_failures",
        "_keepalive",
        "_log",
        "_options",
        "_orders",
        "_row",
        "_sample",
        "_scope",
        "exchange",
        "wait_until_s",
    )

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
        self._sample = common.sample
        self._client = client
        self.exchange = Exchange()
        self._client_gone = False
        """The client has, or its connection is to be closed without a word."""
        self.wait_until_s = math.inf
        """Until when it may wait for descriptors, by trio.current_time; known when it first has to."""
        self._failing = counters.ERROR_READ
        """The counter of what is done with the client now, should it fail."""

    async def run(self) -> None:
        """Relay until the exchange has ended and the client has taken all of it."""
        client = self._client
        fd = client.fileno()
        with client:
            try:
                request = await client.recv(RELAY_SIZE)
                if self._debug:
                    self._log.read(fd, request)
                if request:
                    self.exchange.requests.feed(request)
                    self._connections.pairs[client] = self
                    await self._relay(request)
                    if self.exchange.may_send_more(keepalive=self._keepalive):
                        self._failing = counters.ERROR_READ
                        await linger(client, self._connections, self._log if self._debug else None)
            except OSError as error:
                self._connections.failed(client, error, self._failing)
        self._connections.forget(client)
        if self._debug:
            self._log.closed(fd)

    async def _relay(self, request: bytes) -> None:
        """Relay with the first backend that accepts, until the client has got all."""
        for address in self._common.backends.turn():
            self._address = address
            try:
                unconnected = await self._common.open_backend(address, self)
            except trio.TooSlowError:
                await self._send_last(self._failures.untried_in_time(address))
                return
            except OSError as error:
                self._failures.untried(address, error)
                continue
            with trio.socket.from_stdlib_socket(unconnected) as backend:
                fd = backend.fileno()
                last = await self._relay_with(backend, request)
                if last:
                    await self._send_last(last)
            if self._debug:
                self._log.closed(fd)
            if last is not None:
                return
        await self._send_last(BAD_GATEWAY)

    async def _send_last(self, data: bytes) -> None:
        """Send the end of what the client gets. It may first send all of its request, so that is read meanwhile."""
        self._failing = counters.ERROR_WRITE
        self.exchange.delivering = True
        self._moved()
        sent = await self._client.send(data)
        if self._debug:
            self._log.wrote(self._client.fileno(), sent)
        if sent == len(data):
            return
        problems: list[OSError] = []
        async with trio.open_nursery() as nursery:
            if self.exchange.may_send_more(keepalive=self._keepalive):
                nursery.start_soon(self._discard)
            try:
                await self._send_all(self._client, data[sent:])
            except OSError as error:
                problems.append(error)  # raised within, it would come out as a group
            nursery.cancel_scope.cancel()
        if problems:
            raise problems[0]

    async def _relay_with(self, backend: trio.socket.SocketType, request: bytes) -> bytes | None:
        """Return what the client must still be sent; None when the backend has refused."""
        address = self._address
        last: bytes | None = None
        is_connected = False
        async with trio.open_nursery() as nursery:
            self._scope = scope = nursery.cancel_scope
            scope.deadline = trio.current_time() + self._options.connect_timeout_s
            try:
                await backend.connect((address.host, address.port))
                is_connected = True
                if self._common.backends.on_trial:
                    self._common.backends.accepted(address)
                sent = await self._send_first(backend, request)
            except OSError as error:
                self._failures.refused(address, error, is_connected=is_connected)
                return None
            if self._debug:
                self._log.wrote(backend.fileno(), sent)
            self.exchange.unsent = sent < len(request)
            self._watch()
            nursery.start_soon(self._forward_requests, backend, request[sent:])
            last = await self._forward_replies(backend)
            scope.cancel()
        self._common.unread.discard(self)
        if self._client_gone:
            return b""
        if last is not None:
            return last
        if is_connected:
            return self._failures.silent(address, self.exchange)
        return self._failures.not_accepted(address)

    async def _send_first(self, backend: trio.socket.SocketType, request: bytes) -> int:
        """Send what there is of the request; a backend that has answered and gone by now has taken all of it.

        Raises OSError when it has gone without an answer.
        """
        try:
            return await backend.send(request)
        except OSError:
            if not await backend.recv(1, socket.MSG_PEEK):
                raise
            return len(request)

    async def _forward_requests(self, backend: trio.socket.SocketType, unsent: bytes) -> None:
        client = self._client
        fd = client.fileno()
        while True:
            if unsent and not await self._forward(backend, unsent):
                await self._discard()
                return
            try:
                data = await client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            if not data:
                break
            self._moved()
            self.exchange.requests.feed(data)
            unsent = data
        self.exchange.half_closed = True
        self._watch()
        try:
            backend.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other end has gone already, which reading will tell
                raise
        self._common.unread.add(self)

    async def _forward(self, backend: trio.socket.SocketType, data: bytes) -> bool:
        """Send the backend a part of the request; tell whether it takes more."""
        self.exchange.unread = self.exchange.unsent = True
        self._watch()
        self._common.unread.add(self)
        try:
            await self._send_all(backend, data)
        except OSError as error:
            # What the backend sent before it stopped to listen is still read, then its end.
            if self._debug:
                self._log.line(f"error {backend.fileno()} {error.strerror}")
            return False
        finally:
            self._common.unread.discard(self)
        self.exchange.unread = self.exchange.unsent = False
        if self.exchange.awaits_client:
            self._scope.deadline = math.inf
        return True

    async def _forward_replies(  # noqa: C901  a call for a step would cost each piece
        self, backend: trio.socket.SocketType
    ) -> bytes | None:
        fd = backend.fileno()
        exchange = self.exchange
        while True:
            try:
                data = await backend.recv(RELAY_SIZE)
            except OSError as error:
                if self._debug:
                    self._log.line(f"error {fd} {error.strerror}")
                return self._failures.ended(self._address, exchange, cleanly=False)
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
                # Now, and not when it is sent: other tasks may run until this exchange's have ended.
                self.exchange.delivering = True
                self._moved()
                return data
            self._scope.deadline = math.inf
            try:
                await self._deliver(data)
            except OSError as error:
                self._client_left(error, counters.ERROR_WRITE)
                return b""
            self.exchange.delivering = False
            if self.exchange.owes or self.exchange.half_closed:
                self._watch()
            elif self._orders.to_stop:
                self._connections.end_unused(self._client)

    def _moved(self) -> None:
        """Take note that something has moved on the client's connection."""
        self._connections.moved[self._client] = self._connections.sweeps

    async def _deliver(self, data: bytes) -> None:
        self.exchange.delivering = True
        self._moved()
        await self._send_all(self._client, data)

    async def _discard(self) -> None:
        """Read on from a client, of whose request the backend takes no more, so that it gets to read the reply."""
        fd = self._client.fileno()
        while not self.exchange.half_closed:
            try:
                data = await self._client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            self._moved()
            self.exchange.half_closed = not data

    def has_gone(self) -> bool:
        """Ask whether a client from which nothing is read has reset the connection, and end the exchange if so."""
        number = self._client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._client_left(OSError(number, os.strerror(number)))
        return bool(number)

    def _client_left(self, error: OSError, kind: int = counters.ERROR_READ) -> None:
        """Take an error of the client's connection, and end the exchange."""
        self._connections.failed(self._client, error, kind)
        self.end()

    def end(self) -> None:
        """End the exchange without a word, as nothing of the client's is unread."""
        self._client_gone = self.exchange.half_closed = True
        self._scope.cancel()

    def _watch(self) -> None:
        """Give the backend the full reply time from now on, unless it is the client that is to move."""
        limit_s = math.inf if self.exchange.awaits_client else self._options.reply_timeout_s
        self._scope.deadline = trio.current_time() + limit_s

    async def _send_all(self, connection: trio.socket.SocketType, data: bytes) -> None:
        while True:
            sent = await connection.send(data)
            if self._debug:
                self._log.wrote(connection.fileno(), sent)
            if sent == len(data):
                return
            self._moved()
            data = data[sent:]
