"""A backend: it reads requests, compares each byte, and answers, or breaks off, as the exchange's script says."""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Mapping
from contextlib import suppress

from harness import linger, ports
from harness.torture.client import PATIENCE_S
from harness.torture.content import identity_of
from harness.torture.exchange import Cut, Exchange
from harness.torture.ledger import Ledger
from harness.torture.script import SILENT_S, Act

_BACKLOG = 1024
_READ_SIZE = 65536
_SLOW_BUFFER_BYTES = 131_072
"""Of one that reads slowly. A window of less than a segment, which is 64 KiB on loopback, would stop the sender."""
_LOOK_EVERY_S = 0.001
_CUTS: dict[Act, Cut] = {"end": "ended", "reset": "reset", "fall silent": "silent"}
_FAULTS: dict[Act, str] = {
    "answer early": "replies begun before the request was complete",
    "end": "replies broken off by an end of the stream",
    "reset": "replies broken off by a reset",
    "fall silent": "replies kept back for longer than a proxy waits",
}


class _Served:
    """A connection from a proxy."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.unread = bytearray()
        self.done = 0
        """How much of the exchange's request has been compared."""
        self.exchange: Exchange | None = None
        """The last one that came on it."""
        self.under_way = False
        self.to_reset = False
        """How it is to be closed."""
        self.task: asyncio.Task[None] | None = None


class Backend:
    """Listens on an address, may die with all of its connections, and return."""

    def __init__(self, address: str, known: dict[bytes, Exchange], ledger: Ledger) -> None:
        self.address = address
        self._known = known
        self._ledger = ledger
        self._listener: socket.socket | None = None
        self._open: set[_Served] = set()

    def listen(self) -> None:
        """Take connections. Raises OSError."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(ports.split(self.address))
        listener.listen(_BACKLOG)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def die(self) -> None:
        """Reset all connections and stop listening; who was served then knows why."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._accept(listener)  # what waits in the queue has a name, as far as its request is there
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        dying = list(self._open)
        for served in dying:
            _identify(served, self._known)
            _mark(served, self._known)
            served.to_reset = True
            if served.task is not None:
                served.task.cancel()
        await asyncio.gather(*(served.task for served in dying if served.task), return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):
            while True:
                self._take_over(listener.accept()[0])

    def _take_over(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003  the standard library's signature
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served = _Served(accepted)
        self._open.add(served)
        served.task = asyncio.create_task(self._serve(served))
        served.task.add_done_callback(lambda _: self._let_go(served))

    def _let_go(self, served: _Served) -> None:
        # Not from outside while its task waits for it: its descriptor may be another one's by then.
        self._open.discard(served)
        if served.to_reset:
            linger.reset_on_close(served.socket)
        served.socket.close()

    async def _serve(self, served: _Served) -> None:
        try:
            while await self._answer(served):
                served.under_way = False
        except OSError:
            return  # the proxy has reset it; whether that was right, the client knows

    async def _next(self, served: _Served) -> Exchange | None:
        """Return the exchange whose request comes next; None when none does, or its client has gone. Raises OSError."""
        while not (identity := identity_of(served.unread)):
            data = await asyncio.get_running_loop().sock_recv(served.socket, _READ_SIZE)
            if not data:
                return None
            served.unread += data
        exchange = self._known.get(identity)
        if exchange is not None:
            served.exchange, served.under_way, served.done = exchange, True, 0
            exchange.reached_backend = True
        return exchange

    async def _answer(self, served: _Served) -> bool:
        """Answer the next request, and tell whether another one may follow. Raises OSError."""
        exchange = await self._next(served)
        if exchange is None:
            return False
        script = exchange.script
        if script.act in _FAULTS:
            self._ledger.fault(_FAULTS[script.act])
        early = script.act == "answer early"
        wanted = int(len(exchange.request) * script.act_at) if early else len(exchange.request)
        if not await self._read_request(served, exchange, wanted):
            return False
        if script.act in _CUTS:
            await self._break_off(served, exchange)
            return False
        await self._send(served, exchange, len(exchange.reply))
        if exchange.way.kept:
            return True
        if script.with_length and script.stays_open:
            await _ended(served.socket)
        elif early:
            await _drained(served.socket)  # a close with unread bytes resets, and loses what was not taken
        return False

    async def _read_request(self, served: _Served, exchange: Exchange, wanted: int) -> bool:
        """Compare the request as it comes, up to so many bytes of it; False when it ends before. Raises OSError."""
        taking = exchange.script.taking
        if taking.pause_s:
            self._ledger.fault("requests read slowly by a backend")
            served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        pauses = iter(taking.cuts)
        while True:
            exact = exchange.request[served.done : served.done + len(served.unread)]
            surplus = len(served.unread) - len(exact)
            if served.unread[: len(exact)] != exact or (surplus and not exchange.way.kept):
                exchange.wrong = f"of the request at its backend, after byte {served.done}"
                return False
            served.done += len(exact)
            del served.unread[: len(exact)]
            if served.done >= wanted:
                return True
            if next(pauses, None) is not None and taking.pause_s:
                await asyncio.sleep(taking.pause_s)
            data = await asyncio.get_running_loop().sock_recv(served.socket, _READ_SIZE)
            if not data:
                return False
            served.unread += data

    async def _send(self, served: _Served, exchange: Exchange, end: int) -> None:
        """Send the reply up to a byte. Raises OSError."""
        script, reply, loop = exchange.script, memoryview(exchange.reply), asyncio.get_running_loop()
        pieces = script.replying.pieces(end)
        if len(pieces) > 1:
            self._ledger.fault("replies written slowly" if script.replying.pause_s else "replies in pieces")
        for number, (begin, until) in enumerate(pieces):
            if script.stall_s and number == len(pieces) // 2:
                self._ledger.fault("stalls of a backend")
                await asyncio.sleep(script.stall_s)
            await loop.sock_sendall(served.socket, reply[begin:until])
            if script.replying.pause_s:
                await asyncio.sleep(script.replying.pause_s)

    async def _break_off(self, served: _Served, exchange: Exchange) -> None:
        """Send a part of the reply, then end or reset the connection, or fall silent. Raises OSError."""
        script = exchange.script
        exchange.cut, exchange.cut_after = _CUTS[script.act], int((len(exchange.reply) - 1) * script.act_at)
        await self._send(served, exchange, exchange.cut_after)
        if exchange.cut == "silent":
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await _ended(served.socket)
                    await asyncio.sleep(SILENT_S)  # the end of the request is no reason to end the connection
        elif exchange.cut == "reset":
            # What the proxy's kernel has taken has to reach the client; what waits here is lost with the reset.
            await _drained(served.socket)
            served.to_reset = True


def _identify(served: _Served, known: Mapping[bytes, Exchange]) -> None:
    """Find out whose request waits unread on a connection."""
    if served.under_way:
        return
    with suppress(OSError):
        served.unread += served.socket.recv(_READ_SIZE)
    exchange = known.get(identity_of(served.unread))
    if exchange is not None:
        served.exchange, served.under_way = exchange, True


def _mark(served: _Served, known: Mapping[bytes, Exchange]) -> None:
    """Let the exchange that is not over know why it fails, or the client's connection why there will be no other.

    What was sent last may still be here, and is lost.
    """
    exchange = served.exchange
    if exchange is None:
        return
    if exchange.identity in known:
        exchange.reached_backend, exchange.cut, exchange.cut_after = True, "died", len(exchange.reply)
    if exchange.carrier is not None:
        exchange.carrier.backend_died = True


async def _ended(connection: socket.socket) -> None:
    """Wait for the other side's end. Raises OSError."""
    while await asyncio.get_running_loop().sock_recv(connection, _READ_SIZE):
        pass


async def _drained(connection: socket.socket) -> None:
    """Wait until the other side's kernel has all that was sent (SIOCOUTQ, tcp(7)). Raises OSError and TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        # The kernel tells nobody when it has come to that.
        while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110  see above
            await asyncio.sleep(_LOOK_EVERY_S)
