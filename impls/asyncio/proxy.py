"""Proxy mode: a Protocol for the client's connection, which carries the exchange, and one for the backend's.

Why this looks as it does
-------------------------
- The backend's socket is made as everywhere (``listeners.open_backend_socket``), connected by ``sock_connect``, which
  asks no resolver for a numeric address, and handed to ``create_connection``: in one task, the only one of an exchange.
  The request is sent in the backend's ``connection_made``, a turn of the loop before that task would wake.
- Back-pressure is the library's: ``pause_writing`` of one side (more than 64 KiB unsent) pauses reading the other.
  So a pair holds at most 64 KiB and one read each way, however large a message is.
- Both are BufferedProtocols, since a Protocol's reads ask for 256 KiB, which is allocated anew for each. Any read is
  taken before the next, so one buffer does for all. What is written is a copy: the library keeps what it cannot send.
- The loop reads once from each connection that is ready, so a client that sends without end takes no turn of others.
- ``close`` sends what is unsent and then closes, which is the client's way to end; ``abort`` closes at once, which
  is the backend's.
"""

import asyncio
import os
import socket
from functools import partial

from impls import counters, locality, queues
from impls.addresses import Address
from impls.asyncio.ending import end_stream, let_go
from impls.asyncio.listening import REST_S, listen
from impls.backends import Backends
from impls.contract import BAD_GATEWAY, LINGER_MOST_S, LINGER_S, RELAY_SIZE
from impls.descriptors import EXHAUSTED, Reserve
from impls.exchange import Exchange
from impls.failures import Failures
from impls.listeners import open_backend_socket
from impls.protocol_clients import Client, Clients
from impls.protocol_deadlines import Deadlines
from impls.protocol_log import descriptor, log_accepted, log_closed
from impls.protocol_unread import Unread
from impls.worker import Worker


async def relay(worker: Worker) -> None:
    """Relay between clients and backends until ordered to stop."""
    shared = _Relay(worker)
    await listen(worker, shared.clients, partial(_Pair, shared), shared.stop)


class _Relay:
    """What all pairs share."""

    def __init__(self, worker: Worker) -> None:
        self.clients = Clients(worker)
        self.row = worker.counters
        self.sample = locality.of_backends(worker)
        self.log = worker.log
        self.debug = worker.options.debug
        self.keepalive = worker.options.keepalive
        self.stops = False
        self.lean = worker.options.lean
        self.loop = asyncio.get_running_loop()
        options = worker.options
        self.backends = Backends(options.backends, options.backend_rest_s, options.connect_timeout_s, worker.counters)
        self.failures = Failures(self.backends, worker.counters, worker.log)
        self.connecting = Deadlines[_Pair](options.connect_timeout_s, _Pair.connect_timed_out)
        self.waiting = Deadlines[_Pair](options.connect_timeout_s, _Pair.wait_timed_out)
        self.watched = Deadlines[_Pair](options.reply_timeout_s, _Pair.reply_timed_out)
        self.lingering = Deadlines[_Pair](LINGER_S, _Pair.lingered)
        self.lingering_at_all = Deadlines[_Pair](LINGER_MOST_S, _Pair.lingered)
        self.unread = Unread(_Pair.has_gone)
        self.buffer = bytearray(RELAY_SIZE)
        self.read = memoryview(self.buffer)
        """What one read returns, from whomever: it is taken before the next."""
        self.reserve = Reserve()
        self._resting = 0
        self.clients.may_come = lambda: not self._resting and self.reserve.renew()

    async def rest(self) -> None:
        """Wait for a descriptor to become free; no client is to be accepted meanwhile, who would take it."""
        self._resting += 1
        try:
            await asyncio.sleep(REST_S)
        finally:
            self._resting -= 1

    def stop(self) -> None:
        """Close each connection after the reply that it waits for."""
        self.keepalive = False
        self.stops = True


class _Pair(Client, asyncio.BufferedProtocol):
    """A client's connection, its backend's, and how far their exchange has come."""

    __slots__ = (
        "_address",
        "_backend",
        "_connecting",
        "_exchange",
        "_failing",
        "_over",
        "_pending",
        "_relay",
        "_waits",
    )

    def __init__(self, shared: _Relay, fd: int) -> None:
        super().__init__(shared.clients, fd)
        self._relay = shared
        self._connecting: asyncio.Task[None] | None = None
        self._waits = False
        """There was no descriptor for a connection to a backend; the time that the client waits for one is running."""
        self._backend: asyncio.Transport | None = None
        self._pending = b""
        """What the client sent before a backend took it."""
        self._exchange = Exchange()
        self._over = False
        """The exchange has ended; the client still has to take what is unsent."""
        self._failing = counters.ERROR_READ
        """The counter of what the library does with the client now, should it fail."""

    # The client's connection, as the library tells of it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one for TCP
        self.transport = transport
        if self._relay.debug:
            log_accepted(self._relay.log, transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  the library's signature
        return self._relay.buffer

    def buffer_updated(self, nbytes: int) -> None:
        relay = self._relay
        data = bytes(relay.read[:nbytes])
        self.moved = self.clients.tick
        if relay.debug:
            relay.log.read(descriptor(self.transport), data)
        if self._over:
            relay.lingering.start(self)  # what comes now is read only so that the close sends no reset
            return
        self._exchange.requests.feed(data)
        if self._backend is not None:
            relay.watched.start(self)
            self._send_request(self._backend, data)
            return
        self._pending += data
        if len(self._pending) >= RELAY_SIZE:
            self.pause()
        if self._connecting is None:
            self._connecting = relay.loop.create_task(self._connect())

    def eof_received(self) -> bool:
        """Pass the end of the request on; return whether there is a reply to wait for, else the library closes."""
        relay = self._relay
        if relay.debug:
            relay.log.read(descriptor(self.transport), b"")
        if self._over or (self._backend is None and self._connecting is None):
            return False
        self._exchange.half_closed = True
        relay.unread.add(self)
        if self._backend is not None:
            relay.watched.start(self)
            end_stream(self._backend)
        return True

    def has_gone(self) -> bool:
        """Ask whether a client from which nothing is read has reset the connection."""
        number = self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._relay.row[counters.ERROR_READ] += 1
            if self._relay.debug:
                self._relay.log.line(f"error {descriptor(self.transport)} {os.strerror(number)}")
            self._abandon()
            self.transport.abort()
        return bool(number)

    def pause_writing(self) -> None:
        """Read nothing from the backend while the client does not take what it sent."""
        self._failing = counters.ERROR_WRITE
        if self._backend is not None:
            self._backend.pause_reading()

    def resume_writing(self) -> None:
        if not self._over:
            self._failing = counters.ERROR_READ
            if self._backend is not None:
                self._backend.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        relay = self._relay
        self.clients.lost(self)
        if exc is not None:
            relay.row[self._failing] += 1
        if relay.debug:
            log_closed(relay.log, self.transport, exc)
        let_go(self.transport)
        if self._over:
            relay.lingering.stop(self)
            relay.lingering_at_all.stop(self)
        else:
            self._abandon()

    # The backend's connection

    async def _connect(self) -> None:
        """Connect to the next backend that does not refuse."""
        relay = self._relay
        try:
            for address in relay.backends.turn():
                self._address = address
                await self._try(address)
                if self._backend is not None or self._over:
                    return
            self._end(BAD_GATEWAY)
        finally:
            relay.connecting.stop(self)
            if self._waits:
                relay.waiting.stop(self)
            self._connecting = None

    async def _try(self, address: Address) -> None:
        """Connect to a backend; where that wants for descriptors, wait for them until ``wait_timed_out``."""
        relay = self._relay
        unconnected = await self._open(address)
        if unconnected is None:
            return
        relay.connecting.start(self)
        try:
            await relay.loop.sock_connect(unconnected, (address.host, address.port))
        except BaseException as error:
            unconnected.close()
            if not isinstance(error, OSError):
                raise
            # The library puts words of its own in place of the kernel's.
            relay.failures.refused(address, OSError(error.errno, os.strerror(error.errno or 0)))
            return
        if self._over:
            unconnected.close()
        else:
            await relay.loop.create_connection(partial(_Backend, relay, self, address), sock=unconnected)

    async def _open(self, address: Address) -> socket.socket | None:
        """Make a backend's socket, when there is a descriptor; None: it fails otherwise, or the client is gone."""
        relay = self._relay
        while not self._over:
            try:
                return open_backend_socket(address, lean=relay.lean)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    relay.failures.untried(address, error)
                    return None
                if not self._waits:
                    self._waits = True
                    relay.waiting.start(self)
                relay.clients.exhausted()
                if not relay.reserve.give():
                    relay.log.backend_socket_failed(error)
                    await relay.rest()
        return None

    def backend_connected(self, transport: asyncio.Transport) -> None:
        """Send what the client has sent by now."""
        relay = self._relay
        if relay.backends.on_trial:
            relay.backends.accepted(self._address)
        if self._over:
            transport.abort()
            return
        self.resume()  # before the write, which may pause it again
        transport.write(self._pending)
        if transport.is_closing():
            # Reset at once. It will be told as lost, and _connect tries the next, unless it has answered unasked.
            self._take_last_reply(transport)
            return
        if relay.debug:
            relay.log.wrote(descriptor(transport), len(self._pending))
        self._pending = b""
        self._backend = transport
        relay.connecting.stop(self)
        if self._waits:
            relay.waiting.stop(self)
        relay.watched.start(self)
        if self._exchange.half_closed:
            end_stream(transport)

    def reply_received(self, data: bytes) -> None:
        """Pass on what the backend sent, and end the exchange where its reply is complete."""
        relay, client = self._relay, self.transport
        self.moved = self.clients.tick
        completed = self._exchange.replied(data)
        if completed:
            relay.row[counters.REQUESTS] += completed
        client.write(data)
        if client.is_closing():
            self._failing = counters.ERROR_WRITE
            self._abandon()
            return
        if relay.debug:
            relay.log.wrote(descriptor(client), len(data))
        if completed and not relay.keepalive:
            self._end()
            return
        if self._exchange.owes or self._exchange.half_closed:
            relay.watched.start(self)
        else:
            relay.watched.stop(self)

    def backend_ended(self, *, cleanly: bool) -> None:
        """Take the end of the backend's stream, or its reset."""
        self._end(self._relay.failures.ended(self._address, self._exchange, cleanly=cleanly))

    def backend_lost(self, address: Address, error: Exception) -> None:
        """Take the failure of the backend's connection."""
        if self._backend is None:
            self._relay.failures.refused(address, error, is_connected=True)
        elif not self._over:
            self._take_last_reply(self._backend, cleanly=isinstance(error, BrokenPipeError))

    def pause(self) -> None:
        """Read nothing more from the client until the backend has taken what it sent."""
        if not self._exchange.half_closed:
            self._exchange.unread = True
            self._relay.unread.add(self)
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read from the client again, if that was paused."""
        if self._exchange.unread and not self._over:
            self._exchange.unread = False
            self._relay.unread.discard(self)
            self.transport.resume_reading()

    def _send_request(self, backend: asyncio.Transport, data: bytes) -> None:
        backend.write(data)
        if self._relay.debug and not backend.is_closing():  # that will be told as lost
            self._relay.log.wrote(descriptor(backend), len(data))

    def _take_last_reply(self, backend: asyncio.Transport, *, cleanly: bool = False) -> None:
        """Read what a backend that takes no more may have answered already.

        The library gives a connection up when a write fails, unread bytes included; its descriptor is open still.
        """
        fd = descriptor(backend)
        while not self._over:
            try:
                data = os.read(fd, RELAY_SIZE)
            except OSError:
                data = b""
            if not data:
                break
            if self._relay.debug:
                self._relay.log.read(fd, data)
            self._backend = backend
            self.reply_received(data)
        if self._backend is not None and not self._over:
            self.backend_ended(cleanly=cleanly)

    # Time limits

    def connect_timed_out(self) -> None:
        """Give a backend up that has not accepted the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        last_words = self._relay.failures.not_accepted(self._address)
        if not self._over:
            self._end(last_words)

    def wait_timed_out(self) -> None:
        """Give up for want of a descriptor."""
        if self._connecting is not None:
            self._connecting.cancel()
        last_words = self._relay.failures.untried_in_time(self._address)
        if not self._over:
            self._end(last_words)

    def reply_timed_out(self) -> None:
        """Give a backend up that has been silent, unless it is the client that is slow."""
        if self._exchange_at_present().awaits_client:
            self._relay.watched.start(self)
        else:
            self._end(self._relay.failures.silent(self._address, self._exchange))

    def _exchange_at_present(self) -> Exchange:
        """Return the exchange with what only the library knows: whether both have taken what there is for them."""
        exchange = self._exchange
        exchange.unsent = self._backend is None or self._backend.get_write_buffer_size() > 0
        exchange.delivering = self.transport.get_write_buffer_size() > 0
        return exchange

    def lingered(self) -> None:
        """Close a client that does not end its stream, unless it still has to take what is unsent."""
        if self.transport.get_write_buffer_size():
            self._relay.lingering.start(self)
            self._relay.lingering_at_all.start(self)
        else:
            self.transport.close()

    # As one client among others

    def is_excused(self) -> bool:
        """Tell whether it is the backend that is waited for."""
        return not self._over and self._exchange_at_present().awaits_backend

    def expire(self) -> None:
        """Close, as idle."""
        self._abandon()
        super().expire()

    def stop(self) -> None:
        """Close if no reply is owed to a client that has had one, and that has sent nothing since."""
        if self.moved and not (self._over or self._exchange.owes or queues.unread(self.fd)):
            self._abandon()
            self.transport.close()

    # The end

    def _end(self, last_words: bytes = b"") -> None:
        """End the exchange: close the backend now, and the client when it has taken all, ``last_words`` included."""
        self._abandon()
        client = self.transport
        if last_words:
            client.write(last_words)
            if self._relay.debug:
                self._relay.log.wrote(descriptor(client), len(last_words))
        relay = self._relay
        exchange = self._exchange
        exchange.unread |= relay.stops and queues.unread(self.fd) > 0
        if exchange.may_send_more(keepalive=relay.keepalive):
            # The client may have sent, or still be sending, what nobody will read. A close would then send a reset,
            # which can destroy the reply on its way: end the stream and read on (RFC 9112, section 9.6).
            end_stream(client)
            client.resume_reading()
            relay.lingering.start(self)
            relay.lingering_at_all.start(self)
        else:
            self._failing = counters.ERROR_WRITE
            client.close()

    def _abandon(self) -> None:
        """End the exchange without a word to the client."""
        self._over = True
        self._relay.watched.stop(self)
        self._relay.unread.discard(self)
        if self._backend is not None:
            self._backend.abort()


class _Backend(asyncio.BufferedProtocol):
    """A backend's connection, which tells the pair what happens to it."""

    __slots__ = ("_address", "_pair", "_relay", "_transport")

    def __init__(self, shared: _Relay, pair: _Pair, address: Address) -> None:
        self._relay = shared
        self._pair = pair
        self._address = address

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one for TCP
        self._transport = transport
        self._pair.backend_connected(transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  the library's signature
        return self._relay.buffer

    def buffer_updated(self, nbytes: int) -> None:
        relay = self._relay
        data = bytes(relay.read[:nbytes])
        if relay.debug:
            relay.log.read(descriptor(self._transport), data)
        sample = relay.sample
        if sample:
            sample.skip -= 1
            if sample.skip < 0:
                sample.ask(descriptor(self._transport))
        self._pair.reply_received(data)

    def eof_received(self) -> None:
        if self._relay.debug:
            self._relay.log.read(descriptor(self._transport), b"")
        self._pair.backend_ended(cleanly=True)

    def pause_writing(self) -> None:
        self._pair.pause()

    def resume_writing(self) -> None:
        self._pair.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._relay.debug:
            log_closed(self._relay.log, self._transport, exc)
        let_go(self._transport)
        if exc is not None:
            self._pair.backend_lost(self._address, exc)
