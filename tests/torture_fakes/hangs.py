"""A worker hangs after some requests."""

import os
import time
from itertools import count

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

_AFTER = 100


def hang(worker: Worker) -> None:
    write, writes = os.write, count(1)

    def write_or_hang(fd: int, data: bytes) -> int:
        if next(writes) > _AFTER:
            time.sleep(1000)
        return write(fd, data)

    replace(os, "write", write_or_hang)
    serve(worker)


if __name__ == "__main__":
    run(hang)
