"""Server mode: a Protocol for each connection.

Why this looks as it does
-------------------------
Some three quarters of a request's time is the kernel's, and of the rest most is the library's; so what can be
chosen here is which of its ways to go.

- A BufferedProtocol, because it alone says how much one read asks for: READ_SIZE as everywhere, where
  ``data_received`` gets whatever fits 250 KiB, and a long request would be one message here and many elsewhere.
  One buffer does for all connections, as a message is answered before the next is read. (Both kinds of protocol
  answer equally many requests a second, within 2 %; the other takes 700 instructions a kept request and 1,600 a short
  connection less.)
- The factory is a ``partial`` of the class, not a lambda, which takes 900 instructions a short connection more.
  (README.md says how to count.)
- ``data_received = None`` because uvloop looks it up for every connection, and a name that is missing costs the
  making of an AttributeError: 2 to 3 % of a short connection's CPU time.
- No task, future or timer for a connection: each costs about as much as all of the code below.
- ``write`` tells of no failure, it begins to close; so ``is_closing`` is asked, which only reads a field.
- What is asked of every connection and not of every message (is it idle? is there room?) is in
  ``impls/protocol_clients.py``.
- What is rare gets a protocol of its own and takes the connection over (``set_protocol``), rather than a state
  that each message would have to look at.
"""

import asyncio
import time
from functools import partial

import uvloop

from impls import counters, queues
from impls.contract import BLANK_LINE, GET, LINGER_MOST_S, LINGER_S, READ_SIZE
from impls.protocol_clients import Client, Clients
from impls.protocol_deadlines import Deadlines
from impls.protocol_log import descriptor, log_accepted, log_closed
from impls.uvloop.batches import Batches
from impls.uvloop.listening import listen
from impls.uvloop.proxy import relay
from impls.worker import Worker

LIBRARY = f"uvloop {uvloop.__version__}"  # type: ignore[attr-defined]  # it is there, but not in __all__


def serve(worker: Worker) -> None:
    """Serve until ordered to stop."""
    uvloop.run(relay(worker) if worker.options.backends else answer(worker))


async def answer(worker: Worker) -> None:
    """Answer each message with one reply, then close, or with keep-alive wait for the next."""
    server = _Server(worker)
    connection: type[_Connection] = _Connection
    if worker.options.verbose:
        batches = Batches(worker.counters)
        connection = batches.counted(_Connection)
        server.lingering_protocol = batches.counted(_Lingering)
    await listen(worker, server.clients, partial(connection, server), server.stop)


class _Server:
    """What all connections share."""

    __slots__ = (
        "buffer",
        "clients",
        "debug",
        "had_kept",
        "keepalive",
        "lingering",
        "lingering_protocol",
        "log",
        "reply",
        "row",
    )

    def __init__(self, worker: Worker) -> None:
        self.clients = Clients(worker)
        self.row = worker.counters
        self.log = worker.log
        self.debug = worker.options.debug
        self.keepalive = worker.options.keepalive
        self.had_kept = False
        """Connections were kept until now, so a client may well have sent its next request."""
        self.reply = worker.options.reply
        self.buffer = bytearray(READ_SIZE)
        self.lingering = Deadlines[_Lingering](LINGER_S, _Lingering.expire)
        self.lingering_protocol: type[_Lingering] = _Lingering

    def stop(self) -> None:
        """Close each connection after the next reply."""
        self.had_kept, self.keepalive = self.keepalive, False


class _Connection(Client, asyncio.BufferedProtocol):
    """One connection, but for its lingering end."""

    __slots__ = ("_failing", "_server")
    data_received = None

    def __init__(self, server: _Server, fd: int) -> None:
        super().__init__(server.clients, fd)
        self._server = server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one for TCP
        self.transport = transport
        self._failing = counters.ERROR_READ
        server = self._server
        if server.debug:
            log_accepted(server.log, transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  the library's signature
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        server, transport = self._server, self.transport
        self.moved = self.clients.tick
        if server.debug:
            server.log.read(descriptor(transport), server.buffer[:nbytes])
        transport.write(server.reply)
        if transport.is_closing():
            self._failing = counters.ERROR_WRITE
            return
        server.row[counters.REQUESTS] += 1
        if server.debug:
            server.log.wrote(descriptor(transport), len(server.reply))
        if server.keepalive:
            return
        buffer = server.buffer
        is_whole = nbytes < READ_SIZE and buffer.startswith(GET) and buffer.endswith(BLANK_LINE, 0, nbytes)
        if is_whole and not (server.had_kept and queues.unread(self.fd)):
            transport.close()
        else:
            self._linger()

    def pause_writing(self) -> None:
        """Read nothing from a client that does not read its replies."""
        self._failing = counters.ERROR_WRITE
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._failing = counters.ERROR_READ
        self.transport.resume_reading()

    def eof_received(self) -> None:
        """Let the library send what is unsent, and close."""
        if self._server.debug:
            self._server.log.read(descriptor(self.transport), b"")

    def connection_lost(self, exc: Exception | None) -> None:
        server = self._server
        self.clients.lost(self)
        if exc is not None:
            server.row[self._failing] += 1
        if server.debug:
            log_closed(server.log, self.transport, exc)

    def stop(self) -> None:
        """Close if this one has had a reply and has sent nothing since."""
        if self.moved and not queues.unread(self.fd):
            self.transport.close()

    def _linger(self) -> None:
        """End the stream to a client that may still be sending, and read on until it ends its own.

        A close with unread bytes would send a reset, which can destroy the reply on its way (RFC 9112, section 9.6).
        """
        self.transport.write_eof()
        self.transport.set_protocol(self._server.lingering_protocol(self._server, self))
        self.clients.open.discard(self)


class _Lingering(Client, asyncio.BufferedProtocol):
    """A connection that has got its reply, and whose client may still be sending."""

    __slots__ = ("_server", "_until_s")

    def __init__(self, server: _Server, before: _Connection) -> None:
        super().__init__(server.clients, before.fd)
        self._server = server
        self._until_s = time.monotonic() + LINGER_MOST_S
        self.moved = before.moved
        self.transport = before.transport
        server.lingering.start(self)

    def stop(self) -> None:
        """Let it go on: this is under way until it ends, which is soon."""

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  the library's signature
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.moved = self.clients.tick
        self._server.lingering.start(self)
        if self._server.debug:
            self._server.log.read(descriptor(self.transport), self._server.buffer[:nbytes])
        if time.monotonic() >= self._until_s:
            self.transport.close()

    def eof_received(self) -> None:
        """Let the library close."""
        if self._server.debug:
            self._server.log.read(descriptor(self.transport), b"")

    def connection_lost(self, exc: Exception | None) -> None:
        server = self._server
        self.clients.lost(self)
        server.lingering.stop(self)
        if exc is not None:
            server.row[counters.ERROR_READ] += 1
        if server.debug:
            log_closed(server.log, self.transport, exc)

    def expire(self) -> None:
        """Close, although the client has not ended its stream."""
        self.transport.close()
