"""A worker keeps a descriptor for each connection that its client resets."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run


def leak_on_reset(worker: Worker) -> None:
    read = os.read

    def read_or_leak(fd: int, size: int) -> bytes:
        try:
            return read(fd, size)
        except ConnectionResetError:
            os.dup(worker.log.fd)
            raise

    if not worker.options.backends:
        replace(os, "read", read_or_leak)
    serve(worker)


if __name__ == "__main__":
    run(leak_on_reset)
