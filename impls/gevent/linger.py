"""Closing a connection whose client may still be sending."""

import socket
import time

import gevent

from impls.connections import Connections
from impls.contract import LINGER_MOST_S, LINGER_S, READ_SIZE
from impls.gevent.accept import Connection
from impls.gevent.turn import Turn
from impls.log import Log


def linger(connection: Connection, connections: Connections[Connection], turn: Turn, log: Log | None) -> None:
    """End the stream, and read on until the client ends its own or is silent for LINGER_S; not for ever.

    A close with unread bytes would send a reset, which can destroy the reply on its way (RFC 9112, section 9.6).
    ``log`` gets what is read; None without -d. Raises OSError when the client has gone.
    """
    connection.shutdown(socket.SHUT_WR)
    until_s = time.monotonic() + LINGER_MOST_S
    while time.monotonic() < until_s:
        data: bytes | None = None
        with gevent.Timeout(LINGER_S, exception=False):  # type: ignore[arg-type]  # False, as documented: just go on
            data = connection.recv(READ_SIZE)
        if log and data is not None:
            log.read(connection.fileno(), data)
        if not data:
            return
        connections.touch(connection)
        turn.moved(connection)
