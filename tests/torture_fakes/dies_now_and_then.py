"""A worker ends by itself, now and then."""

import os
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_AFTER = 60


def die(worker: Worker) -> None:
    read, reads = os.read, count(1)

    def read_or_die(fd: int, size: int) -> bytes:
        if next(reads) >= _AFTER:
            os._exit(3)
        return read(fd, size)

    if not worker.options.backends:
        replace(os, "read", read_or_die)
    serve(worker)


if __name__ == "__main__":
    run(die)
