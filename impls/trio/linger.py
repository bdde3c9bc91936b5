"""Ending a connection whose client may still be sending, for both modes."""

import socket

import trio

from impls.connections import Connections
from impls.contract import LINGER_MOST_S, LINGER_S, READ_SIZE
from impls.log import Log
from impls.trio.accept import Connection


async def linger(connection: Connection, connections: Connections[Connection], log: Log | None) -> None:
    """End the stream, and read on until the client ends its own or is silent for LINGER_S; not for ever.

    A close with unread bytes would send a reset, which can destroy the reply on its way (RFC 9112, section 9.6).
    ``log`` gets what is read; None without -d. Raises OSError when the client has gone.
    """
    connection.shutdown(socket.SHUT_WR)
    until_s = trio.current_time() + LINGER_MOST_S
    with trio.move_on_after(LINGER_S) as silence:
        while True:
            data = await connection.recv(READ_SIZE)
            if log:
                log.read(connection.fileno(), data)
            if not data:
                return
            connections.touch(connection)
            silence.deadline = min(trio.current_time() + LINGER_S, until_s)
