"""What the kernel holds of a connection in either direction."""

import fcntl
import struct
import termios

_INT = struct.Struct("i")


def unread(fd: int) -> int:
    """Return how many bytes have arrived and were not read yet (FIONREAD, tcp(7)). Raises OSError."""
    return _asked(fd, termios.FIONREAD)


def untaken(fd: int) -> int:
    """Return how many bytes were sent that the other end has not acknowledged (SIOCOUTQ, tcp(7)). Raises OSError.

    It shrinks while a slow client reads, long before the kernel reports that there is room for more: that is when a
    third of the send buffer is free (``sk_stream_is_writeable``, include/net/sock.h), which may be megabytes.
    """
    return _asked(fd, termios.TIOCOUTQ)


def _asked(fd: int, request: int) -> int:
    (value,) = _INT.unpack(fcntl.ioctl(fd, request, bytes(_INT.size)))
    return int(value)
