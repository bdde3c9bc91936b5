"""A worker answers some requests with nothing but the end of the stream."""

import os
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_EVERY = 20


def drop_some(worker: Worker) -> None:
    write, replies = os.write, count(1)

    def write_or_not(fd: int, data: bytes) -> int:
        if data.startswith(b"HTTP/1.0 200") and not next(replies) % _EVERY:
            return len(data)
        return write(fd, data)

    if not (worker.options.backends or worker.options.keepalive):
        replace(os, "write", write_or_not)
    serve(worker)


if __name__ == "__main__":
    run(drop_some)
