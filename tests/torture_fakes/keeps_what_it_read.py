"""A worker keeps 300 kB for a request, up to twenty times a second, however many there are."""

import os
import time

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_KEPT: list[bytes] = []
_KEPT_BYTES, _EVERY_S = 300_000, 0.05


def keep(worker: Worker) -> None:
    read, kept_s = os.read, 0.0

    def read_and_keep(fd: int, size: int) -> bytes:
        nonlocal kept_s
        data = read(fd, size)
        if data and time.monotonic() - kept_s > _EVERY_S:
            kept_s = time.monotonic()
            _KEPT.append(os.urandom(_KEPT_BYTES))
        return data

    replace(os, "read", read_and_keep)
    serve(worker)


if __name__ == "__main__":
    run(keep)
