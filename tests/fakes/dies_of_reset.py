"""A worker ends when a client resets its connection, and the others with it."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"RESET"}


def end_on_reset(worker: Worker) -> None:
    read = os.read

    def read_or_end(fd: int, size: int) -> bytes:
        try:
            return read(fd, size)
        except ConnectionResetError:
            os._exit(1)

    if not worker.options.backends:
        replace(os, "read", read_or_end)
    serve(worker)


if __name__ == "__main__":
    run(end_on_reset)
