"""Reading from a descriptor of which nobody knows whether there is something to read."""

import os
from collections.abc import Callable


def reader_now(size: int) -> Callable[[int], bytes]:
    """Make a function that reads from a descriptor as recv(2) does with MSG_DONTWAIT: BlockingIOError for nothing.

    To make the descriptor non-blocking instead would be a system call for each connection. (preadv2(2) takes the flag
    for sockets too; the offset -1 says that there is none.)
    """
    buffer = bytearray(size)
    buffers, view = [buffer], memoryview(buffer)
    readv, no_wait = os.preadv, os.RWF_NOWAIT

    def read_now(fd: int) -> bytes:
        return bytes(view[: readv(fd, buffers, -1, no_wait)])

    return read_now
