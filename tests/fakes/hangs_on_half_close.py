"""The end of a client's stream is ignored."""

import os
import select

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"CLOSE-ON-EOF", "HALF-CLOSE"}


def ignore_the_end(worker: Worker) -> None:
    epolls: list[select.epoll] = []
    ended: set[int] = set()
    make_epoll, read, close = select.epoll, os.read, os.close

    def recorded_epoll() -> select.epoll:
        epolls.append(make_epoll())
        return epolls[-1]

    def recorded_read(fd: int, size: int) -> bytes:
        data = read(fd, size)
        if not data:
            ended.add(fd)
        return data

    def close_unless_ended(fd: int) -> None:
        if fd in ended:
            epolls[0].unregister(fd)
        else:
            close(fd)

    if not worker.options.backends:
        replace(select, "epoll", recorded_epoll)
        replace(os, "read", recorded_read)
        replace(os, "close", close_unless_ended)
    serve(worker)


if __name__ == "__main__":
    run(ignore_the_end)
