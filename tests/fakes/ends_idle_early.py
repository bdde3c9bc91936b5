"""Connections are closed long before ``--idle-timeout``."""

import dataclasses

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import run

REJECTED_BY = {"IDLE"}
PERHAPS_BY = {"KEEP-SLOW-READER", "MANY-1000", "RESET"}  # on a busy machine these hold silent connections for as long
LIMIT_S = 0.6


def hurry(worker: Worker) -> None:
    serve(dataclasses.replace(worker, options=dataclasses.replace(worker.options, idle_timeout_s=LIMIT_S)))


if __name__ == "__main__":
    run(hurry)
