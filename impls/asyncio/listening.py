"""Accepting connections on the worker's listeners, and the stop, for both modes.

Why this looks as it does
-------------------------
The library's own way, ``create_server``, cannot pause for want of room, and rests for a whole second for want of
descriptors. So connections are accepted here, as the library provides for with ``connect_accepted_socket``.
No task runs that. It is a coroutine, but waits only once, for ``connection_made``, which the loop calls in its next
turn: two ``send`` do.

Up to BATCH are accepted an event. With 8 a short connection takes 1.09 times (1.01 to 1.18) the CPU time where the
worker is busy, and as much where there are few to accept at a time.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from impls import counters, listeners, locality
from impls.asyncio.ending import is_late
from impls.descriptors import EXHAUSTED
from impls.protocol_clients import Client, Clients
from impls.worker import Worker

BATCH: Final = 64
"""Connections accepted an event, at most."""
REST_S: Final = 0.1
"""How long accepting rests when accept(2) fails for want of something: the listener stays readable all the while."""

_Opening = Coroutine[Any, Any, Any]


async def listen(worker: Worker, clients: Clients, connect: Callable[[int], Client], stop: Callable[[], None]) -> None:
    """Accept, with a protocol made by ``connect`` for each descriptor, until ordered to stop and all clients are gone.

    ``stop`` is called once, before the clients' ``stop``.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_give_up)
    listening = _Listening(worker, clients, connect)
    listening.resume()
    await _order_to_stop(worker)
    stop()
    clients.stop()
    await listening.end()
    if clients.open:
        gone = loop.create_future()
        clients.left = lambda: None if clients.open or gone.done() else gone.set_result(None)
        await gone


async def _order_to_stop(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    ordered = loop.create_future()

    def obey() -> None:
        if worker.orders.obey():
            loop.remove_reader(worker.orders.fileno())
            ordered.set_result(None)

    loop.add_reader(worker.orders.fileno(), obey)
    await ordered


class _Listening:
    """The worker's listeners."""

    def __init__(self, worker: Worker, clients: Clients, connect: Callable[[int], Client]) -> None:
        self._worker = worker
        self._clients = clients
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._sample = locality.of_clients(worker)
        self._exhausted = False
        """The last accept(2) failed for want of something."""
        self._rests = False
        self._ended = False
        clients.exhausted = self._rest
        self._going_on: asyncio.Future[None] | None = None
        """Done when accepting may go on, while ``end`` waits for that."""

    def resume(self) -> None:
        """Accept, unless there are other uses for what a connection would take."""
        if not self._clients.may_come():
            self._rest()
            return
        self._clients.left = None
        if self._going_on is not None:
            self._going_on.set_result(None)
            self._going_on = None
            return
        for listener in self._worker.listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    async def end(self) -> None:
        """Accept what waits, as soon as there is room, and then no more."""
        self._unwatch()
        for listener in self._worker.listeners:
            while not self._accept(listener):
                if self._clients.left is not None:
                    self._going_on = self._loop.create_future()
                    await self._going_on
            listeners.close_empty(listener, self._worker.options)
        self._ended = True

    def _accept(self, listener: socket.socket) -> bool:
        """Accept some connections that wait; return whether none is left."""
        clients, connect, sample = self._clients, self._connect, self._sample
        room = min(BATCH, clients.most - len(clients.open))
        if room <= 0:
            self._pause()
            return False
        open_transport = self._loop.connect_accepted_socket
        opening: list[_Opening] = []
        none_left = False
        failure: OSError | None = None
        for _ in range(room):
            try:
                accepted, _peer = listener.accept()
            except BlockingIOError:
                none_left = True  # or another worker was faster
                break
            except OSError as error:
                failure = error
                break
            fd = accepted.fileno()
            if sample:
                sample.skip -= 1
                if sample.skip < 0:
                    sample.ask(fd)
            one = open_transport(partial(connect, fd), accepted)
            one.send(None)
            opening.append(one)
        if opening:
            self._exhausted = False
            self._worker.counters[counters.ACCEPTED] += len(opening)
            self._loop.call_soon(_finish, opening)
        if failure is not None:
            self._failed(failure)
        return none_left

    def _failed(self, error: OSError) -> None:
        self._worker.counters[counters.ERROR_ACCEPT] += 1
        self._worker.log.accept_failed(error)
        if error.errno in EXHAUSTED:
            self._rest()

    def _rest(self) -> None:
        """Pause for want of something, but for a rest at most."""
        self._pause(still=self._exhausted)
        self._exhausted = True
        if not self._rests:
            self._rests = True
            self._loop.call_later(REST_S, self._rested)

    def _pause(self, *, still: bool = False) -> None:
        """Accept no more until a connection is closed; ``still``: the last pause goes on."""
        if self._ended or self._clients.left is not None:
            return
        if not still:
            self._worker.counters[counters.ERROR_FULL] += 1
        self._unwatch()
        self._clients.left = self.resume

    def _rested(self) -> None:
        self._rests = False
        if not self._ended and self._clients.left is not None:
            self.resume()

    def _unwatch(self) -> None:
        for listener in self._worker.listeners:
            self._loop.remove_reader(listener.fileno())


def _finish(opening: list[_Opening]) -> None:
    """Let the coroutines end, now that ``connection_made`` was called for each."""
    for one in opening:
        try:
            one.send(None)
        except StopIteration:
            continue
        raise RuntimeError("the library waits for more than connection_made when it opens a transport")


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that a callback let through, and end the worker: asyncio would go on as if nothing had been."""
    if is_late(context):
        return
    loop.default_exception_handler(context)
    loop.stop()
