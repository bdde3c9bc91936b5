"""A worker accepts more connections than it was told to hold."""

import dataclasses

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import run

REJECTED_BY = {"LIMIT-CONNECTIONS"}


def forget_the_limit(worker: Worker) -> None:
    serve(dataclasses.replace(worker, max_connections=60_000))


if __name__ == "__main__":
    run(forget_the_limit)
