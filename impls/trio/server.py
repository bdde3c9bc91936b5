"""Server mode on trio.

Why this looks as it does
-------------------------
It stands on ``trio.socket``, the lower of the two documented layers of networking. A ``trio.SocketStream`` for
each connection sets two socket options that the other implementations do not set (TCP_NODELAY and
TCP_NOTSENT_LOWAT), and ``trio.serve_listeners`` closes it within a cancel scope of its own: together they more
than double the CPU time of a short connection and change nothing on the wire.

``with connection`` closes without trio's ``notify_closing``, an epoll_ctl(2) that would wake other tasks waiting
for the same socket. There are none: one task owns the connection from accept to close.
"""

import socket

import trio

from impls import counters
from impls.connections import Connections
from impls.contract import BLANK_LINE, GET, READ_SIZE
from impls.trio.accept import Acceptor, Connection, Handler
from impls.trio.linger import linger
from impls.trio.polls import PollCounter
from impls.trio.proxy import relaying
from impls.worker import Worker

LIBRARY = f"trio {trio.__version__}"


def serve(worker: Worker) -> None:
    """Serve until the worker is ordered to stop and what was under way has finished."""
    instruments = [PollCounter(worker.counters)] if worker.options.verbose else []
    trio.run(_serve, worker, instruments=instruments)


async def _serve(worker: Worker) -> None:
    acceptor = Acceptor(worker)
    await acceptor.serve((relaying if worker.options.backends else answering)(worker, acceptor.connections))


def answering(worker: Worker, connections: Connections[Connection]) -> Handler:  # noqa: C901  as of answer, which it holds
    """Make the handler that answers each message with one reply, then closes, or with keep-alive waits for the next."""
    row, log, orders = worker.counters, worker.log, worker.orders
    moved = connections.moved
    keepalive, debug = worker.options.keepalive, worker.options.debug
    reply = worker.options.reply

    async def answer(connection: Connection) -> None:  # noqa: C901  the hot path: a call per step would cost more than it explains
        fd = connection.fileno()
        kind = counters.ERROR_READ
        with connection:
            try:
                while True:
                    data = await connection.recv(READ_SIZE)
                    if debug:
                        log.read(fd, data)
                    if not data:
                        break
                    kind = counters.ERROR_WRITE
                    sent = await connection.send(reply)
                    row[counters.REQUESTS] += 1
                    if debug:
                        log.wrote(fd, sent)
                    while sent < len(reply):
                        # The client does not read its replies: this task alone waits for it.
                        more = await connection.send(reply[sent:])
                        sent += more
                        if debug:
                            log.wrote(fd, more)
                    kind = counters.ERROR_READ
                    if not keepalive:
                        if len(data) == READ_SIZE or not (data.startswith(GET) and data.endswith(BLANK_LINE)):
                            await linger(connection, connections, log if debug else None)
                        break
                    moved[connection] = connections.sweeps
                    if orders.to_stop:
                        connection.shutdown(socket.SHUT_RD)  # what has arrived by now is still read, then the end
            except OSError as error:
                connections.failed(connection, error, kind)
        connections.forget(connection)
        if debug:
            log.closed(fd)

    return answer
