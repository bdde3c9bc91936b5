"""Who sends something that cannot be text gets no reply."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-ANY-BYTES"}


def take_it_for_the_end(worker: Worker) -> None:
    read = os.read

    def read_text(fd: int, size: int) -> bytes:
        data = read(fd, size)
        return b"" if data.startswith(b"\0") else data

    if not worker.options.backends:
        replace(os, "read", read_text)
    serve(worker)


if __name__ == "__main__":
    run(take_it_for_the_end)
