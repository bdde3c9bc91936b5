"""A worker keeps a kilobyte for each request."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_KEPT: list[bytes] = []
_KEPT_BYTES = 1_000


def keep(worker: Worker) -> None:
    read = os.read

    def read_and_keep(fd: int, size: int) -> bytes:
        data = read(fd, size)
        if data:
            _KEPT.append(os.urandom(_KEPT_BYTES))
        return data

    replace(os, "read", read_and_keep)
    serve(worker)


if __name__ == "__main__":
    run(keep)
