"""Connections to backends on sockets that are used again and again.

A connect to an address of the family AF_UNSPEC makes a socket as good as new (connect(2)). What there was of a
connection is reset, as the close of a socket with SO_LINGER {1, 0} does: both come down to ``tcp_disconnect``
(net/ipv4/tcp.c). So the kernel need not make a socket, a file and an epoll entry for each exchange and free them again:
one system call instead of socket, setsockopt, epoll_ctl and close. Python has no such address; hence ctypes. (The load
generator does the like in ``harness/loadgen/reuse.py``; servers and harness import nothing of each other.) With a new
socket for each exchange requests/s are 0.784 (0.750 to 0.819) of these (measured as in ``proxy.py``).

A socket that was reset reports an error to its epoll set once, unless it is connected again before the next poll. So a
batch's connections are reset before new ones are made.
"""

import ctypes
import errno
import os
import select
import socket
import struct
from collections.abc import Sequence

from impls.addresses import Address
from impls.epoll_raw.accept import MAX_EVENTS
from impls.listeners import UNSENT_BYTES, open_backend_socket

MAX_SPARE = MAX_EVENTS
"""Sockets kept for later, for each address family: as many as a batch can end and begin."""

_UNSPEC = bytes(16)
"""An address of the family AF_UNSPEC, which is 0."""
_ZERO = bytes(4)
# This process has one thread, for which the interpreter's lock need not be released.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_connect, _setsockopt, _get_errno = _LIBC.connect, _LIBC.setsockopt, ctypes.get_errno
_TCP, _QUICKACK, _UNSENT = int(socket.IPPROTO_TCP), int(socket.TCP_QUICKACK), int(socket.TCP_NOTSENT_LOWAT)
_UNSENT_BYTES = struct.pack("i", UNSENT_BYTES)


def bound_unsent(fd: int) -> None:
    """Bound what the kernel holds of what a backend does not take, on a connection that is not a usual one any more."""
    _setsockopt(fd, _TCP, _UNSENT, _UNSENT_BYTES, len(_UNSENT_BYTES))


class Target:
    """A backend's address, as connect(2) takes it."""

    __slots__ = ("address", "packed", "spare")

    def __init__(self, address: Address, spare: list[int]) -> None:
        host, port = socket.inet_pton(address.family, address.host), address.port.to_bytes(2, "big")
        form = "=H2s4s8x" if address.family == socket.AF_INET else "=H2s4x16s4x"
        self.address = address
        self.packed = struct.pack(form, address.family, port, host)
        """A sockaddr_in or sockaddr_in6 (ip(7), ipv6(7))."""
        self.spare = spare
        """Descriptors of sockets of its family that can be connected."""

    def __str__(self) -> str:
        return str(self.address)


class BackendSockets:
    """Connects descriptors to backends, registered once for all events, edge-triggered."""

    def __init__(self, addresses: Sequence[Address], epoll: select.epoll, events: int, *, lean: bool) -> None:
        spare: dict[int, list[int]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self.targets = [Target(address, spare[address.family]) for address in addresses]
        self._epoll = epoll
        self._events = events
        self._lean = lean

    def connect(self, target: Target) -> int:
        """Begin to connect, and return the descriptor. Raises OSError when that fails at once."""
        fd = target.spare.pop() if target.spare else self._open(target.address)
        if self._lean:
            # The reset before has taken it back.
            _setsockopt(fd, _TCP, _QUICKACK, _ZERO, len(_ZERO))
        if _connect(fd, target.packed, len(target.packed)) and (number := _get_errno()) != errno.EINPROGRESS:
            target.spare.append(fd)
            raise OSError(number, os.strerror(number))
        return fd

    def reset(self, fd: int, target: Target) -> bool:
        """Reset a connection and keep its socket; False when it is to be closed instead."""
        if len(target.spare) >= MAX_SPARE or _connect(fd, _UNSPEC, len(_UNSPEC)):
            return False
        target.spare.append(fd)
        return True

    def _open(self, address: Address) -> int:
        with open_backend_socket(address, lean=False) as backend:
            # A usual request is smaller than the bound, which would only have each one reported when it is taken.
            backend.setsockopt(_TCP, _UNSENT, 0)
            self._epoll.register(backend, self._events)
            return backend.detach()
