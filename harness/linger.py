"""What becomes of a connection when its socket is closed."""

import socket
import struct


def reset_on_close(connection: socket.socket) -> None:
    """Let a close reset the connection and throw away what is not sent: SO_LINGER {on, 0 s} (socket(7))."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
