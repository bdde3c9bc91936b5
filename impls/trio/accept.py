"""Accepting with trio, for both modes: a task for each listener, and one for each connection."""

import socket
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from impls import counters, listeners, locality
from impls.connections import Connections
from impls.descriptors import EXHAUSTED
from impls.worker import Worker

RETRY_S = 0.1
"""How long a listener rests when accept(2) fails, mostly for want of descriptors; as in trio.serve_listeners."""

Connection = trio.socket.SocketType
Handler = Callable[[Connection], Awaitable[None]]
"""Takes one connection from accept to close, and has it forgotten. An exception that leaves it ends the worker."""


class Acceptor:
    """Accepts while there is room, until the worker is to stop."""

    def __init__(self, worker: Worker) -> None:
        self.connections: Connections[Connection] = Connections(worker, self._connection_ended)
        self._worker = worker
        self._sample = locality.of_clients(worker)
        self._ended = trio.Event()
        """That a connection has ended; a new one for each wait."""

    async def serve(self, handler: Handler) -> None:
        """Run ``handler`` in a task of its own for every connection, until none is left after the order to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            async with trio.open_nursery() as accepting:
                for listener in self._worker.listeners:
                    accepting.start_soon(self._accept, listener, handler, nursery)
                while not self._worker.orders.obey():
                    await trio.lowlevel.wait_readable(self._worker.orders.fileno())
                accepting.cancel_scope.cancel()
            self.connections.end_all_unused()
            for listener in self._worker.listeners:
                await self._accept_the_last(listener, handler, nursery)
            while self.connections.accepted:
                await self._end_of_one()
            nursery.cancel_scope.cancel()

    async def _sweep(self) -> NoReturn:
        while True:
            await trio.sleep(self.connections.sweep_s)
            self.connections.sweep()

    async def _accept(self, listener: socket.socket, handler: Handler, nursery: trio.Nursery) -> NoReturn:
        """Accept for as long as this runs.

        What the library's own ``accept`` does, but that no other task can take the last room between look and accept.
        """
        connections = self.connections
        accepted = connections.accepted
        # Once before any try: a library in LD_PRELOAD may take a listener over when it is registered with epoll.
        await trio.lowlevel.wait_readable(listener)
        while True:
            if len(accepted) >= connections.most:
                connections.pause()
                while not connections.has_room():
                    await self._end_of_one()
                connections.is_paused = False
            try:
                self._accept_one(listener, handler, nursery)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
            except OSError as error:
                if error.errno in EXHAUSTED:
                    connections.pause()
                with trio.move_on_after(RETRY_S):
                    await self._end_of_one()
            else:
                connections.is_paused = False
                await trio.lowlevel.checkpoint()

    async def _accept_the_last(self, listener: socket.socket, handler: Handler, nursery: trio.Nursery) -> None:
        """Accept whoever waits, as far as there is room, and then nobody any more."""
        while True:
            try:
                while self.connections.has_room():
                    self._accept_one(listener, handler, nursery)
            except BlockingIOError:
                break
            except OSError:  # counted and logged; there may be a descriptor when a connection ends
                if not self.connections.accepted:
                    break
            await self._end_of_one()
        # A registration with epoll lives for as long as another process has the listener open.
        trio.lowlevel.notify_closing(listener)
        listeners.close_empty(listener, self._worker.options)

    def _accept_one(self, listener: socket.socket, handler: Handler, nursery: trio.Nursery) -> None:
        """Accept at once, or raise BlockingIOError or another OSError, which is counted and logged by then."""
        worker = self._worker
        try:
            accepted, peer = listener.accept()
        except BlockingIOError:
            raise
        except OSError as error:
            worker.counters[counters.ERROR_ACCEPT] += 1
            worker.log.accept_failed(error)
            raise
        connection = trio.socket.from_stdlib_socket(accepted)
        self.connections.accepted[connection] = self.connections.sweeps
        worker.counters[counters.ACCEPTED] += 1
        sample = self._sample
        if sample:
            sample.skip -= 1
            if sample.skip < 0:
                sample.ask(connection.fileno())
        if worker.options.debug:
            worker.log.accepted(connection.fileno(), peer)
        nursery.start_soon(handler, connection)

    async def _end_of_one(self) -> None:
        """Wait until a connection has ended."""
        self.connections.awaited = True
        await self._ended.wait()

    def _connection_ended(self) -> None:
        self.connections.awaited = False
        self._ended.set()
        self._ended = trio.Event()
