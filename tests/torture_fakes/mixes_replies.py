"""The proxy gives a client the reply that belongs to another one, now and then."""

import os
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_EVERY = 10


def mix_replies(worker: Worker) -> None:
    read, replies = os.read, count(1)
    last = b""

    def read_another(fd: int, size: int) -> bytes:
        nonlocal last
        data = read(fd, size)
        # A part of a reply that tells not yet whose it is would be no other one's, but cut off.
        if not data.startswith(b"HTTP/1.1 200") or b"\r\n\r\n" not in data:
            return data
        another, last = last or data, data
        return data if next(replies) % _EVERY else another

    if worker.options.backends:
        replace(os, "read", read_another)
    serve(worker)


if __name__ == "__main__":
    run(mix_replies)
