"""The client's end: a task that makes one exchange after the other with one server, as its script says."""

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EINPROGRESS
from itertools import count

from harness import linger, ports
from harness.torture.content import Content
from harness.torture.exchange import Carrier, Exchange
from harness.torture.judge import is_own
from harness.torture.ledger import Ledger
from harness.torture.script import SILENT_S, Pace, Script, Stage, draw
from harness.torture.way import Way

PATIENCE_S = 20.0
"""How long an exchange may take in all: many times what a slow script and the pauses of its worker add up to."""
_READ_SIZE = 65536
_AT_ONCE_BYTES = 16_384
"""What a send buffer takes without waiting, so that reading need not begin meanwhile."""
_SMALL_BUFFER_BYTES = 4096
"""Of who reads slowly, so that what it has not read waits at the other side."""
_SILENCE_TAKES_S = SILENT_S + 1.0


class Target:
    """A server under load: where it listens, and the connections that are open to it."""

    def __init__(self, way: Way, address: str, reply: bytes) -> None:
        """``reply`` is what it answers by itself; a proxy's replies follow from their exchanges."""
        self.way = way
        self.address = address
        self.endpoint = ports.split(address)
        self.reply = reply
        self.carriers: set[Carrier] = set()


class Client:
    """One of several that load a server. What it does follows from the seed, its server and its number."""

    def __init__(
        self,
        target: Target,
        number: int,
        seed: int,
        content: Content,
        known: dict[bytes, Exchange],
        ledger: Ledger,
    ) -> None:
        """``known`` are the exchanges under way, for the backends to look up."""
        self._target = target
        self._content = content
        self._known = known
        self._ledger = ledger
        self._source = random.Random(f"{seed} {target.way.name} client {number}")
        self._identities: Iterator[bytes] = (f"{target.way.name}-{number}-{n}".encode() for n in count())
        self._socket: socket.socket | None = None
        self._carrier: Carrier | None = None

    async def run(self, left_s: Callable[[], float]) -> None:
        """Make exchanges until no time is left."""
        try:
            while left_s() > 0:
                script = draw(self._source, self._target.way)
                if script.act == "fall silent" and left_s() < _SILENCE_TAKES_S:
                    continue
                await self._play(self._exchange(script))
        finally:
            self._close()

    async def once(self) -> bool:
        """Make one exchange without a fault, and tell whether it was complete."""
        try:
            return await self._play(self._exchange(Script(request_bytes=100, reply_bytes=100)))
        finally:
            self._close()

    def _exchange(self, script: Script) -> Exchange:
        identity, way = next(self._identities), self._target.way
        request = self._content.request(identity, script.request_bytes)
        reply = self._target.reply
        if way.proxied:
            reply = self._content.reply(identity, script.reply_bytes, with_length=script.with_length)
        return Exchange(identity, way, script, request, reply)

    async def _play(self, exchange: Exchange) -> bool:
        self._ledger.begin(exchange)
        self._known[exchange.identity] = exchange
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._converse(exchange)
        except TimeoutError:
            exchange.problem = f"not over after {PATIENCE_S:g} s: {exchange.received} of {len(exchange.reply)} bytes"
        except OSError as error:
            exchange.problem = f"cannot connect: {error.strerror}"
        exchange.ended_s = time.monotonic()
        del self._known[exchange.identity]
        complete = self._ledger.finish(exchange)
        if not complete or exchange.end != "none" or not exchange.way.kept:
            self._close()
        return complete

    async def _converse(self, exchange: Exchange) -> None:
        connection = self._connected(exchange)
        if exchange.script.reset == "before the request":
            self._reset(exchange, "before the request")
            return
        sending = asyncio.create_task(self._send(connection, exchange)) if _takes_long(exchange) else None
        try:
            if sending is None:
                await self._send(connection, exchange)
            if exchange.reset_done is None:
                await self._receive(connection, exchange)
        finally:
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending

    def _connected(self, exchange: Exchange) -> socket.socket:
        """Return the kept connection, or a new one. Raises OSError."""
        if self._socket is None or self._carrier is None:
            opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket = opened
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if exchange.script.slow_reading.pause_s:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
            # On loopback the handshake is over when this returns. Nothing is awaited before the connection is known.
            if (number := opened.connect_ex(self._target.endpoint)) not in (0, EINPROGRESS):
                raise OSError(number, os.strerror(number))
            self._carrier = Carrier(opened.getsockname())
            self._target.carriers.add(self._carrier)
        exchange.carrier = self._carrier
        return self._socket

    async def _send(self, connection: socket.socket, exchange: Exchange) -> None:
        """Send the request, as far as the other side lets and the script says."""
        script, request = exchange.script, memoryview(exchange.request)
        end = int(len(request) * script.reset_at) if script.reset == "within the request" else len(request)
        loop = asyncio.get_running_loop()
        pieces = script.writing.pieces(end)
        if len(pieces) > 1:
            self._ledger.fault("requests written slowly" if script.writing.pause_s else "requests in pieces")
        try:
            for begin, until in pieces:
                await loop.sock_sendall(connection, request[begin:until])
                await _rest(script.writing)
            if script.reset in ("within the request", "after the request"):
                self._reset(exchange, script.reset)
                return
            exchange.sent_all = True
            if script.half_close:
                connection.shutdown(socket.SHUT_WR)
                self._ledger.fault("streams half-closed by a client")
        except OSError:
            return  # the reply tells whether that was right

    async def _receive(self, connection: socket.socket, exchange: Exchange) -> None:
        """Receive the reply and compare each byte; until the end of the stream, or on kept connections of the reply."""
        script, loop = exchange.script, asyncio.get_running_loop()
        reset_at = int(len(exchange.reply) * script.reset_at) if script.reset == "within the reply" else None
        pieces = iter(script.slow_reading.pieces(len(exchange.reply)))
        if script.slow_reading.pause_s:
            self._ledger.fault("replies read slowly")
        while True:
            piece = next(pieces, None)
            size = _READ_SIZE if piece is None or not script.slow_reading.pause_s else max(1, piece[1] - piece[0])
            try:
                data = await loop.sock_recv(connection, size)
            except OSError:
                exchange.end = "none" if exchange.reset_done else "reset"
                return
            if not data:
                exchange.end = "end"
                return
            take(exchange, data)
            if exchange.wrong:
                return
            if reset_at is not None and exchange.received >= reset_at:
                self._reset(exchange, "within the reply")
                return
            if exchange.way.kept and exchange.received == len(exchange.reply) and not script.half_close:
                return
            if piece is not None:
                await _rest(script.slow_reading)

    def _reset(self, exchange: Exchange, stage: Stage) -> None:
        if self._socket is not None:
            linger.reset_on_close(self._socket)
        exchange.reset_done = stage
        self._ledger.fault(f"connections reset by a client {stage}")
        self._close()

    def _close(self) -> None:
        if self._carrier is not None:
            self._target.carriers.discard(self._carrier)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._carrier = None


def take(exchange: Exchange, data: bytes) -> None:
    """Compare what has come with what should have."""
    if exchange.own_reply:
        exchange.own_reply += data
        return
    if exchange.reply.startswith(data, exchange.received):
        exchange.received += len(data)
        return
    whole = exchange.reply[: exchange.received] + data
    if exchange.way.proxied and is_own(whole):
        exchange.own_reply = whole
        return
    expected = exchange.reply[exchange.received : exchange.received + len(data)]
    first = next((at for at, (a, b) in enumerate(zip(expected, data, strict=False)) if a != b), len(expected))
    exchange.wrong = (
        f"byte {exchange.received + first} of {len(exchange.reply)} is the first; {data[first : first + 60]!r} "
        f"instead of {expected[first : first + 60]!r}"
    )


def _takes_long(exchange: Exchange) -> bool:
    """Tell whether reading has to go on while the request is sent; not where that ends with a reset."""
    if exchange.script.reset in ("within the request", "after the request"):
        return False
    return len(exchange.request) > _AT_ONCE_BYTES or bool(exchange.script.writing.pause_s)


async def _rest(pace: Pace) -> None:
    if pace.pause_s:
        await asyncio.sleep(pace.pause_s)
