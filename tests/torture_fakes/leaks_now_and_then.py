"""A worker keeps a descriptor more after every 500th read."""

import os
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_EVERY = 500


def leak(worker: Worker) -> None:
    read, reads = os.read, count(1)

    def read_and_leak(fd: int, size: int) -> bytes:
        if not next(reads) % _EVERY:
            os.dup(worker.log.fd)
        return read(fd, size)

    replace(os, "read", read_and_leak)
    serve(worker)


if __name__ == "__main__":
    run(leak)
