"""Reading from and writing to a blocking descriptor, but only what can be done at once.

recv(2) and send(2) have MSG_DONTWAIT for that, and want socket objects in Python; preadv2(2) and pwritev2(2) have
RWF_NOWAIT, and the offset -1 for what has none. Not every kernel takes the flag for sockets (6.18 does), so that is
tried once. To make the descriptor non-blocking instead is a system call more for each connection.
"""

import os
import socket
from collections.abc import Callable


def reader(size: int) -> Callable[[int], bytes]:
    """Make a function that reads from a descriptor; it raises BlockingIOError where nothing is there."""
    if not _is_known():
        return lambda fd: _read_non_blocking(fd, size)
    buffer = bytearray(size)
    buffers, view = [buffer], memoryview(buffer)
    readv, no_wait = os.preadv, os.RWF_NOWAIT

    def read(fd: int) -> bytes:
        return bytes(view[: readv(fd, buffers, -1, no_wait)])

    return read


def writer() -> Callable[[int, bytes], int]:
    """Make a function that writes to a descriptor; it raises BlockingIOError where nothing can be taken."""
    if not _is_known():
        return _write_non_blocking
    writev, no_wait = os.pwritev, os.RWF_NOWAIT

    def write(fd: int, data: bytes) -> int:
        return writev(fd, [data], -1, no_wait)

    return write


def _is_known() -> bool:
    one, other = socket.socketpair()
    with one, other:
        try:
            os.preadv(one.fileno(), [bytearray(1)], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _read_non_blocking(fd: int, size: int) -> bytes:
    os.set_blocking(fd, False)
    return os.read(fd, size)


def _write_non_blocking(fd: int, data: bytes) -> int:
    os.set_blocking(fd, False)
    return os.write(fd, data)
