"""A connection is closed although more of the request has arrived, which resets it."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-LARGE-REQUEST"}


def never_fill_the_buffer(worker: Worker) -> None:
    read = os.read

    def read_less(fd: int, size: int) -> bytes:
        return read(fd, size - 1)

    if not worker.options.backends:
        replace(os, "read", read_less)
    serve(worker)


if __name__ == "__main__":
    run(never_fill_the_buffer)
