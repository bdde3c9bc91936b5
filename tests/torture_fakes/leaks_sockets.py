"""A proxy keeps no socket for later, and a worker loses one after every 20th read, when it has warmed up."""

import os
import socket
from itertools import count

from impls.epoll_raw import backend_sockets
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_LOST: list[socket.socket] = []
_AFTER, _EVERY = 200, 20
"""What is lost in the first exchanges, at most all on one worker, would be taken for sockets that it keeps."""


def leak(worker: Worker) -> None:
    read, reads = os.read, count(1)

    def read_and_leak(fd: int, size: int) -> bytes:
        number = next(reads)
        if number > _AFTER and not number % _EVERY:
            _LOST.append(socket.socket())
        return read(fd, size)

    if worker.options.backends:
        replace(backend_sockets, "MAX_SPARE", 0)
        replace(os, "read", read_and_leak)
    serve(worker)


if __name__ == "__main__":
    run(leak)
