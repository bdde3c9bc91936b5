"""A connection is closed right after the reply although more of the request is coming, which resets it."""

import os

from impls.epoll_raw.rare import Rare
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-LARGE-REQUEST", "REPLY-SPLIT-REQUEST"}


def close_at_once(worker: Worker) -> None:
    def answer_and_close(rare: Rare, fd: int) -> None:
        os.write(fd, worker.options.reply)
        rare.close(fd)

    replace(Rare, "answer_and_linger", answer_and_close)
    serve(worker)


if __name__ == "__main__":
    run(close_at_once)
