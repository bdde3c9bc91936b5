"""Accepting with trio, for both modes: a task for each listener, and one for each connection."""

import socket
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from impls import counters
from impls.worker import Worker

RETRY_S = 0.1
"""How long a listener rests when accept(2) fails, mostly for want of descriptors; as in trio.serve_listeners."""

Handler = Callable[[trio.socket.SocketType], Awaitable[None]]
"""Takes one connection from accept to close. An exception that leaves it ends the worker."""


async def serve_connections(worker: Worker, handler: Handler) -> None:
    """Run ``handler`` in a task of its own for every connection, until a signal ends the process."""
    async with trio.open_nursery() as nursery:
        for listener in worker.listeners:
            nursery.start_soon(_accept, worker, listener, handler, nursery)


async def _accept(worker: Worker, inherited: socket.socket, handler: Handler, nursery: trio.Nursery) -> NoReturn:
    row, log, debug = worker.counters, worker.log, worker.options.debug
    listener = trio.socket.from_stdlib_socket(inherited)
    while True:
        try:
            connection, peer = await listener.accept()
        except OSError as error:
            row[counters.ERROR_ACCEPT] += 1
            log.accept_failed(error)
            await trio.sleep(RETRY_S)
            continue
        row[counters.ACCEPTED] += 1
        if debug:
            log.accepted(connection.fileno(), peer)
        nursery.start_soon(handler, connection)
