"""Server mode on gevent.

Why this looks as it does
-------------------------
The library's ``StreamServer`` accepts in the event loop itself, without a greenlet that would have to be woken for it
(``accept.py``). A connection gets a raw greenlet, which has a function to run and nothing else; a ``gevent.Greenlet``,
which can be waited for, costs 8 % more CPU time a short connection. ``connection.close()`` stands here for the debug
log's sake; the library would close it a moment later.

The library reads first and waits when that fails. On a kept connection it fails for almost every request, as the client
sends the next one when it has the reply, and a BlockingIOError costs more than a third of what a request takes. So with
keep-alive the loop waits first, on a watcher of its own (``hub.wait``): one recvfrom a request less, and 18,600
instructions instead of 29,700 (README.md says how to count).
"""

import socket

import gevent

from impls import counters
from impls.connections import Connections
from impls.contract import BLANK_LINE, GET, READ_SIZE
from impls.gevent.accept import READABLE, Acceptor, Connection, Handler, Peer
from impls.gevent.linger import linger
from impls.gevent.polls import count_polls
from impls.gevent.proxy import relaying
from impls.gevent.turn import Turn
from impls.worker import Worker

LIBRARY = f"gevent {gevent.__version__}"


def serve(worker: Worker) -> None:
    """Serve until the worker is ordered to stop and what was under way has finished."""
    acceptor = Acceptor(worker)
    handler = (relaying if worker.options.backends else answering)(worker, acceptor.connections)
    if worker.options.verbose:
        count_polls(worker.counters)
    acceptor.serve(handler)


def answering(worker: Worker, connections: Connections[Connection]) -> Handler:  # noqa: C901  as of answer, which it holds
    """Make the handler that answers each message with one reply, then closes, or with keep-alive waits for the next."""
    row, log, orders = worker.counters, worker.log, worker.orders
    moved = connections.moved
    keepalive, debug = worker.options.keepalive, worker.options.debug
    reply = worker.options.reply
    hub = gevent.get_hub()
    turn = Turn()

    def answer(connection: Connection, _: Peer) -> None:  # noqa: C901, PLR0912  the hot path: a call per step would cost more than it explains
        fd = connection.fileno()
        kind = counters.ERROR_READ
        request = hub.loop.io(fd, READABLE) if keepalive else None
        try:
            while True:
                if request:
                    hub.wait(request)
                data = connection.recv(READ_SIZE)
                if debug:
                    log.read(fd, data)
                if not data:
                    break
                kind = counters.ERROR_WRITE
                sent = connection.send(reply)
                row[counters.REQUESTS] += 1
                if debug:
                    log.wrote(fd, sent)
                while sent < len(reply):
                    # The client does not read its replies: this greenlet alone waits for it.
                    more = connection.send(reply[sent:])
                    sent += more
                    if debug:
                        log.wrote(fd, more)
                kind = counters.ERROR_READ
                if not keepalive:
                    if len(data) == READ_SIZE or not (data.startswith(GET) and data.endswith(BLANK_LINE)):
                        linger(connection, connections, turn, log if debug else None)
                    break
                moved[connection] = connections.sweeps
                if orders.to_stop:
                    connection.shutdown(socket.SHUT_RD)  # what has arrived by now is still read, then the end
        except OSError as error:
            connections.failed(connection, error, kind)
        if request:
            request.close()
        connection.close()
        connections.forget(connection)
        if debug:
            log.closed(fd)

    return answer
