"""Accepting with gevent, for both modes: the library's server, with a greenlet for each connection."""

import socket
from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.hub import get_hub
from gevent.server import StreamServer

from impls import counters, listeners, locality
from impls.connections import Connections
from impls.descriptors import EXHAUSTED
from impls.worker import Worker

Connection = gevent.socket.socket
READABLE = 1
"""The events of a watcher that waits until something can be read, as in ``loop.io(fd, READABLE)``."""

Peer = tuple[str, int]
Handler = Callable[[Connection, Peer], None]
"""Takes one connection from accept to close, and has it forgotten. An exception that leaves it ends the worker."""


class Acceptor:
    """Accepts while there is room, until the worker is to stop."""

    def __init__(self, worker: Worker) -> None:
        self.connections: Connections[Connection] = Connections(worker, self._connection_ended)
        self.sample = locality.of_clients(worker)
        self._worker = worker
        self._servers: list[_Server] = []
        self._ordered = get_hub().loop.io(worker.orders.fileno(), READABLE)
        self._is_stopping = False
        self._all_done = Event()

    def serve(self, handler: Handler) -> None:
        """Run ``handler`` in a greenlet of its own for every connection, until none is left after the order to stop."""
        # By default the library would print the exception of a handler and go on as if nothing had been.
        get_hub().SYSTEM_ERROR = (Exception,)
        self._servers = [_Server(self._worker, self, listener, handler) for listener in self._worker.listeners]
        sweep_s = self.connections.sweep_s
        sweep = get_hub().loop.timer(sweep_s, repeat=sweep_s)
        sweep.start(self.connections.sweep)
        self._ordered.start(self._obey)
        for server in self._servers:
            server.start()
        self._all_done.wait()

    def pause(self) -> None:
        """Take note that somebody waits for the end of a connection; whoever calls this unwatches the listener."""
        self.connections.pause()
        self.connections.awaited = True

    def resume(self) -> None:
        """Accept again if there is room; unless stopping, when this is done elsewhere."""
        if self.connections.has_room() and not self._is_stopping:
            self.connections.awaited = self.connections.is_paused = False
            for server in self._servers:
                server.start_accepting()

    def _connection_ended(self) -> None:
        self.resume()
        if self._is_stopping:
            self._accept_the_last()

    def _obey(self) -> None:
        if not self._worker.orders.obey():
            return
        self._ordered.stop()
        self._is_stopping = self.connections.awaited = True
        self.connections.end_all_unused()
        self._accept_the_last()

    def _accept_the_last(self) -> None:
        """Accept whoever waits, as far as there is room, and then nobody any more."""
        while self._servers and self._servers[-1].accept_waiting():
            server = self._servers.pop()
            listeners.close_empty(server.socket, self._worker.options)
            server.close()
        if not self.connections.accepted:
            self._all_done.set()


class _AcceptFailed(gevent.GreenletExit):
    """What the library takes for no error: it rests the listener, without a traceback for each failure."""


class _Server(StreamServer):
    """The library's server on an inherited listener."""

    # Connections accepted an event. The library's default of 100 is "to be set to a lower value" where processes share
    # a listener. Against 1 this saves a turn of the loop for most: 24 % of a short connection's CPU time (1 worker, 100
    # connections), as 100 does; with two workers it is 2 % cheaper than 100.
    max_accept = 8
    # Seconds a listener rests at most when accepting fails; the library would double its rest up to 1 s.
    max_delay = 0.1

    def __init__(self, worker: Worker, acceptor: Acceptor, listener: socket.socket, handler: Handler) -> None:
        self._worker = worker
        self._acceptor = acceptor
        self._connections = acceptor.connections
        self._accepted = acceptor.connections.accepted
        self._sample = acceptor.sample
        super().__init__(listener, handler, spawn=gevent.spawn_raw)  # type: ignore[call-overload]  # the stubs lack both

    def full(self) -> bool:
        """Tell whether there is no room; the library asks before it accepts, and unwatches the listener then."""
        if len(self._accepted) < self._connections.most:
            return False
        self._acceptor.pause()
        return True

    def do_read(self) -> tuple[Connection, Peer] | None:  # type: ignore[override]  # None: nothing to accept
        """Accept; the library calls this when the listener is readable, and rests it when this fails."""
        worker = self._worker
        try:
            accepted = super().do_read()
        except OSError as error:
            worker.counters[counters.ERROR_ACCEPT] += 1
            worker.log.accept_failed(error)
            if error.errno in EXHAUSTED:
                self._acceptor.pause()
            raise _AcceptFailed from None
        if accepted:
            self._accepted[accepted[0]] = self._connections.sweeps
            if self._connections.awaited:
                self._acceptor.resume()
            worker.counters[counters.ACCEPTED] += 1
            sample = self._sample
            if sample:
                sample.skip -= 1
                if sample.skip < 0:
                    sample.ask(accepted[0].fileno())
            if worker.options.debug:
                connection, peer = accepted
                worker.log.accepted(connection.fileno(), peer)
        return accepted

    def accept_waiting(self) -> bool:
        """Accept whoever waits in the queue; tell whether that is all, as against no room for the others yet."""
        self.stop_accepting()
        while not self.full():
            try:
                accepted = self.do_read()
            except _AcceptFailed:
                return not self._accepted  # else there may be room when one of these ends
            if accepted is None:
                return True
            self.do_handle(*accepted)
        return False
