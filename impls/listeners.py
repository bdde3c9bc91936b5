"""Listening sockets, and sockets to backends, with every option that could make servers differ."""

import errno
import os
import socket
import struct
from collections.abc import Iterable

from impls.addresses import Address
from impls.contract import BACKLOG

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER {on, 0 s}: close(2) sends a reset and leaves no TIME_WAIT behind (socket(7))."""


def open_listeners(addresses: Iterable[Address]) -> tuple[socket.socket, ...]:
    """Open one non-blocking listening socket per address.

    Raises ValueError with one line that names the address and what would be right.
    """
    opened: list[socket.socket] = []
    for address in addresses:
        try:
            opened.append(_open_listener(address))
        except OSError as error:
            for listener in opened:
                listener.close()
            raise ValueError(f"-a {address}: {_explain(error)}") from None
    return tuple(opened)


def _open_listener(address: Address) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            # Without it [::]:80 would also take IPv4's port 80, and 0.0.0.0:80 beside it would fail.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; give another, or end what listens there"
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine; give one that 'ip address' shows, or 0.0.0.0"
        case errno.EACCES:
            return (
                "no permission for a port below 1024; give a higher port, run as root, or allow it with "
                "'sysctl net.ipv4.ip_unprivileged_port_start=0'"
            )
        case number:
            return os.strerror(number) if number else str(error)


def open_backend_socket(address: Address) -> socket.socket:
    """Make a non-blocking, unconnected socket for a backend. Its close resets the connection."""
    backend = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return backend
