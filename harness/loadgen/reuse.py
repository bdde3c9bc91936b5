"""Sockets that are connected again and again: what connect(2) and shutdown(2) can and Python's sockets do not offer.

A connect to an address of the family AF_UNSPEC makes a closed connection's socket as good as new: the next connect
gets another local port, and the server sees nothing of it. So the kernel need not make a socket, a file and an epoll
entry for each connection. Python has no such address; hence ctypes.

To disconnect a socket while something of its connection is under way would send a reset, or make the kernel answer
with one. So its stream is ended first, and it is disconnected only when the server has acknowledged that. Over
loopback that is as a rule before shutdown returns; elsewhere an event tells it, a hang-up.
"""

import ctypes
import fcntl
import socket
import struct
import termios
from typing import Final

# This process has one thread, for which the interpreter's lock need not be released.
_LIBC: Final = ctypes.PyDLL(None, use_errno=True)
_UNSPEC: Final = bytes(16)
"""An address of the family AF_UNSPEC, which is 0."""
_UNACKNOWLEDGED: Final = bytearray(4)
"""Filled by the kernel; one for all, as a new one for each call takes twice as long."""
_NOTHING: Final = bytes(4)
_SHUT_WR: Final = int(socket.SHUT_WR)
_TIOCOUTQ: Final = termios.TIOCOUTQ
_connect, _shutdown, _ioctl = _LIBC.connect, _LIBC.shutdown, fcntl.ioctl


def socket_address(family: socket.AddressFamily, host: str, port: int) -> bytes:
    """Return a sockaddr_in or sockaddr_in6 (ip(7), ipv6(7))."""
    packed = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return struct.pack("=H2s4s8x", family, port.to_bytes(2, "big"), packed)
    return struct.pack("=H2s4x16s4x", family, port.to_bytes(2, "big"), packed)


def connect(fd: int, address: bytes) -> int:
    """Connect as ``socket.connect_ex``: 0 or an error number, EINPROGRESS as a rule."""
    return ctypes.get_errno() if _connect(fd, address, len(address)) else 0


def end(fd: int) -> None:
    """End a connection that the server has ended."""
    _shutdown(fd, _SHUT_WR)


def renew(fd: int) -> bool:
    """Make the socket of an ended connection as good as new; False while the server has not acknowledged its end."""
    _ioctl(fd, _TIOCOUTQ, _UNACKNOWLEDGED)
    return _UNACKNOWLEDGED == _NOTHING and not _connect(fd, _UNSPEC, len(_UNSPEC))
