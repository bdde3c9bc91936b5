"""Connections may be idle as long as they like."""

import dataclasses

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import run

REJECTED_BY = {"LIMIT-IDLE"}


def forget_the_limit(worker: Worker) -> None:
    serve(dataclasses.replace(worker, options=dataclasses.replace(worker.options, idle_timeout_s=3600)))


if __name__ == "__main__":
    run(forget_the_limit)
