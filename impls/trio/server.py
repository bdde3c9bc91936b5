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

from functools import partial

import trio

from impls import counters
from impls.contract import READ_SIZE
from impls.trio.accept import Handler, serve_connections
from impls.trio.linger import linger
from impls.trio.polls import PollCounter
from impls.trio.proxy import relaying
from impls.worker import Worker

LIBRARY = f"trio {trio.__version__}"


def serve(worker: Worker) -> None:
    """Serve until a signal ends the process."""
    handler = relaying(worker) if worker.options.backends else answering(worker)
    instruments = [PollCounter(worker.counters)] if worker.options.verbose else []
    trio.run(partial(serve_connections, worker, handler), instruments=instruments)


def answering(worker: Worker) -> Handler:  # noqa: C901  as of answer, which it holds
    """Make the handler that answers each message with one reply, then closes, or with keep-alive waits for the next."""
    row, log = worker.counters, worker.log
    keepalive, debug = worker.options.keepalive, worker.options.debug
    reply = worker.options.reply

    async def answer(connection: trio.socket.SocketType) -> None:  # noqa: C901  the hot path: a call per step would cost more than it explains
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
                        if len(data) == READ_SIZE:
                            await linger(connection, log if debug else None)
                        break
            except OSError as error:
                row[kind] += 1
                if debug:
                    log.line(f"error {fd} {error.strerror}")
        if debug:
            log.closed(fd)

    return answer
