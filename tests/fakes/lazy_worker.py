"""Only the first worker accepts connections."""

import signal

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import run

REJECTED_BY = {"PROC-ALL-SERVE", "PROC-RESPAWN"}


def leave_it_to_the_first(worker: Worker) -> None:
    while worker.index > 0:
        signal.pause()
    serve(worker)


if __name__ == "__main__":
    run(leave_it_to_the_first)
