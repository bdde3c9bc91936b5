"""Proxy mode on trio."""

import errno
import math
import os
import socket

import trio

from impls import counters
from impls.addresses import Address
from impls.backends import Backends
from impls.contract import BAD_GATEWAY, GATEWAY_TIMEOUT, RELAY_SIZE
from impls.framing import ReplyFraming, RequestFraming
from impls.listeners import open_backend_socket
from impls.trio.accept import Handler
from impls.trio.linger import linger
from impls.worker import Worker

GONE_CHECK_S = 0.1
"""How often a client that has ended its stream is asked whether it is still there."""


def relaying(worker: Worker) -> Handler:
    """Make the handler that relays between one client and a backend of its own."""
    backends = Backends(worker.options.backends, worker.options.backend_rest_s, worker.counters)

    async def relay(client: trio.socket.SocketType) -> None:
        await _Pair(worker, backends, client).run()

    return relay


class _Pair:
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "_address",
        "_backends",
        "_client",
        "_client_gone",
        "_debug",
        "_delivering",
        "_failing",
        "_framing",
        "_half_closed",
        "_keepalive",
        "_log",
        "_options",
        "_requests",
        "_row",
        "_scope",
        "_unread",
    )

    def __init__(self, worker: Worker, backends: Backends[Address], client: trio.socket.SocketType) -> None:
        self._options = worker.options
        self._row = worker.counters
        self._log = worker.log
        self._debug = worker.options.debug
        self._keepalive = worker.options.keepalive
        self._backends = backends
        self._client = client
        self._framing = ReplyFraming()
        self._requests = RequestFraming()
        self._half_closed = False
        """The client has ended its stream."""
        self._client_gone = False
        self._delivering = False
        """The client is being sent a part of the reply: when it is slow, that is not the backend's fault."""
        self._unread = False
        """The client may have sent what nobody has read."""
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
                    self._requests.feed(request)
                    await self._exchange(request)
                    if self._may_send_more:
                        self._failing = counters.ERROR_READ
                        await linger(client, self._log if self._debug else None)
            except OSError as error:
                self._row[self._failing] += 1
                if self._debug:
                    self._log.line(f"error {fd} {error.strerror}")
        if self._debug:
            self._log.closed(fd)

    @property
    def _may_send_more(self) -> bool:
        """Whether the client may be sending what nobody will read."""
        return not self._half_closed and (self._unread or self._keepalive or not self._requests.whole)

    @property
    def _owes(self) -> bool:
        """Whether the backend owes a reply, or the rest of one."""
        return self._requests.unanswered > 0 or not self._framing.between

    async def _exchange(self, request: bytes) -> None:
        """Relay with the first backend that accepts, until the client has got all."""
        for address in self._backends.turn():
            self._address = address
            try:
                unconnected = open_backend_socket(address, lean=self._options.lean)
            except OSError as error:
                self._backend_failed(counters.ERROR_BACKEND_REFUSED, f"could not be tried: {error.strerror}")
                continue
            with trio.socket.from_stdlib_socket(unconnected) as backend:
                fd = backend.fileno()
                last = await self._exchange_with(backend, request)
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
        sent = await self._client.send(data)
        if self._debug:
            self._log.wrote(self._client.fileno(), sent)
        if sent == len(data):
            return
        problems: list[OSError] = []
        async with trio.open_nursery() as nursery:
            if self._may_send_more:
                nursery.start_soon(self._discard)
            try:
                await self._send_all(self._client, data[sent:])
            except OSError as error:
                problems.append(error)  # raised within, it would come out as a group
            nursery.cancel_scope.cancel()
        if problems:
            raise problems[0]

    async def _exchange_with(self, backend: trio.socket.SocketType, request: bytes) -> bytes | None:
        """Return what the client must still be sent; None when the backend has refused."""
        address = self._address
        last: bytes | None = None
        late = "did not accept the connection in time"
        async with trio.open_nursery() as nursery:
            self._scope = scope = nursery.cancel_scope
            scope.deadline = trio.current_time() + self._options.connect_timeout_s
            try:
                await backend.connect((address.host, address.port))
                sent = await self._send_first(backend, request)
            except OSError as error:
                self._backend_failed(counters.ERROR_BACKEND_REFUSED, f"refused: {error.strerror or error}")
                return None
            if self._debug:
                self._log.wrote(backend.fileno(), sent)
            self._watch()
            late = "did not answer in time"
            nursery.start_soon(self._forward_requests, backend, request[sent:])
            last = await self._forward_replies(backend)
            scope.cancel()
        if self._client_gone:
            return b""
        if last is not None:
            return last
        if self._owes:
            self._backend_failed(counters.ERROR_BACKEND_TIMEOUT, late)
        if self._owes and self._framing.between:
            return GATEWAY_TIMEOUT
        return b""

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
            if unsent:
                self._unread = True
                try:
                    await self._send_all(backend, unsent)
                except OSError as error:
                    # What the backend sent before it stopped to listen is still read, then its end.
                    if self._debug:
                        self._log.line(f"error {backend.fileno()} {error.strerror}")
                    await self._discard()
                    return
                self._unread = False
            try:
                data = await client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            self._watch()
            if not data:
                break
            self._requests.feed(data)
            unsent = data
        self._half_closed = True
        try:
            backend.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the other end has gone already, which reading will tell
                raise
        await self._notice_reset()

    async def _forward_replies(self, backend: trio.socket.SocketType) -> bytes | None:
        fd = backend.fileno()
        framing = self._framing
        while True:
            try:
                data = await backend.recv(RELAY_SIZE)
            except OSError as error:
                if self._debug:
                    self._log.line(f"error {fd} {error.strerror}")
                return self._backend_ended(cleanly=False)
            if self._debug:
                self._log.read(fd, data)
            if not data:
                return self._backend_ended(cleanly=True)
            completed = framing.feed(data)
            self._row[counters.REQUESTS] += completed
            self._requests.answered(completed)
            if completed and not self._keepalive:
                return data
            self._delivering = True
            self._scope.deadline = math.inf
            try:
                await self._send_all(self._client, data)
            except OSError as error:
                self._row[counters.ERROR_WRITE] += 1
                if self._debug:
                    self._log.line(f"error {self._client.fileno()} {error.strerror}")
                self._client_gone = self._half_closed = True
                return b""
            self._delivering = False
            if self._owes or self._half_closed:
                self._watch()

    def _backend_ended(self, *, cleanly: bool) -> bytes:
        """Take the end of the backend's stream, or its reset, and decide what it means for the client."""
        if cleanly and self._framing.end():
            self._row[counters.REQUESTS] += 1
        elif not self._framing.between:
            self._backend_failed(counters.ERROR_BACKEND_BROKEN, "ended the connection within its reply")
        elif self._requests.unanswered:
            self._backend_failed(counters.ERROR_BACKEND_BROKEN, "ended the connection without a reply")
            return BAD_GATEWAY
        return b""

    def _backend_failed(self, kind: int, what: str) -> None:
        self._row[kind] += 1
        self._log.problem(f"backend {self._address} {what}")

    async def _discard(self) -> None:
        """Read on from a client, of whose request the backend takes no more, so that it gets to read the reply."""
        fd = self._client.fileno()
        while not self._half_closed:
            try:
                data = await self._client.recv(RELAY_SIZE)
            except OSError as error:
                self._client_left(error)
                return
            if self._debug:
                self._log.read(fd, data)
            self._half_closed = not data

    async def _notice_reset(self) -> None:
        """Look now and then whether a client that has ended its stream has gone: it is readable for ever."""
        while True:
            await trio.sleep(GONE_CHECK_S)
            number = self._client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._client_left(OSError(number, os.strerror(number)))

    def _client_left(self, error: OSError) -> None:
        self._row[counters.ERROR_READ] += 1
        if self._debug:
            self._log.line(f"error {self._client.fileno()} {error.strerror}")
        self._client_gone = self._half_closed = True
        self._scope.cancel()

    def _watch(self) -> None:
        """Give the backend the full reply time from now on."""
        if not self._delivering:
            self._scope.deadline = trio.current_time() + self._options.reply_timeout_s

    async def _send_all(self, connection: trio.socket.SocketType, data: bytes) -> None:
        while True:
            sent = await connection.send(data)
            if self._debug:
                self._log.wrote(connection.fileno(), sent)
            if sent == len(data):
                return
            data = data[sent:]
