"""The proxy loses a byte of what a backend sends, now and then."""

import os
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_EVERY = 10


def lose_a_byte(worker: Worker) -> None:
    read, replies = os.read, count(1)

    def read_and_lose(fd: int, size: int) -> bytes:
        data = read(fd, size)
        if data.startswith(b"HTTP/1.1 200") and not next(replies) % _EVERY:
            return data[:-1]
        return data

    if worker.options.backends:
        replace(os, "read", read_and_lose)
    serve(worker)


if __name__ == "__main__":
    run(lose_a_byte)
