"""The connection is closed half a second after the reply."""

import os
import queue
import select
import threading
import time

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"CLOSE-FIRST"}
DELAY_S = 0.5


def close_late(worker: Worker) -> None:
    epolls: list[select.epoll] = []
    due: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()
    make_epoll, close = select.epoll, os.close

    def recorded_epoll() -> select.epoll:
        epolls.append(make_epoll())
        return epolls[-1]

    def close_later(fd: int) -> None:
        epolls[0].unregister(fd)
        due.put((time.monotonic() + DELAY_S, os.dup(fd)))
        close(fd)

    def close_what_is_due() -> None:
        while True:
            time_s, fd = due.get()
            time.sleep(max(0.0, time_s - time.monotonic()))
            close(fd)

    if not worker.options.backends:
        threading.Thread(target=close_what_is_due, daemon=True).start()
        replace(select, "epoll", recorded_epoll)
        replace(os, "close", close_later)
    serve(worker)


if __name__ == "__main__":
    run(close_late)
