"""Accepting with gevent, for both modes: the library's server, with a greenlet for each connection."""

import socket
from collections.abc import Callable

import gevent
from gevent.hub import get_hub
from gevent.server import StreamServer

from impls import counters
from impls.worker import Worker

Connection = gevent.socket.socket
READABLE = 1
"""The events of a watcher that waits until something can be read, as in ``loop.io(fd, READABLE)``."""

Peer = tuple[str, int]
Handler = Callable[[Connection, Peer], None]
"""Takes one connection from accept to close, in a greenlet of its own. An exception that leaves it ends the worker."""


def serve_connections(worker: Worker, handler: Handler) -> None:
    """Run ``handler`` in a greenlet of its own for every connection, until a signal ends the process."""
    # By default the library would print the exception of a handler and go on as if nothing had been.
    get_hub().SYSTEM_ERROR = (Exception,)
    servers = [_Server(worker, listener, handler) for listener in worker.listeners]
    for server in servers:
        server.start()
    servers[0].serve_forever()


class _AcceptFailed(gevent.GreenletExit):
    """What the library takes for no error: it rests the listener, without a traceback for each failure."""


class _Server(StreamServer):
    """The library's server on an inherited listener."""

    # Connections accepted an event. The library's default of 100 is "to be set to a lower value" where processes share
    # a listener. Against 1 this saves a turn of the loop for most: 24 % of a short connection's CPU time (1 worker, 100
    # connections), as 100 does; with two workers it is 2 % cheaper than 100.
    max_accept = 8

    def __init__(self, worker: Worker, listener: socket.socket, handler: Handler) -> None:
        self._worker = worker
        super().__init__(listener, handler, spawn=gevent.spawn_raw)  # type: ignore[call-overload]  # the stubs lack both

    def do_read(self) -> tuple[Connection, Peer] | None:  # type: ignore[override]  # None: nothing to accept
        """Accept; the library calls this when the listener is readable, and rests it when this fails."""
        worker = self._worker
        try:
            accepted = super().do_read()
        except OSError as error:
            worker.counters[counters.ERROR_ACCEPT] += 1
            worker.log.accept_failed(error)
            raise _AcceptFailed from None
        if accepted:
            worker.counters[counters.ACCEPTED] += 1
            if worker.options.debug:
                connection, peer = accepted
                worker.log.accepted(connection.fileno(), peer)
        return accepted
