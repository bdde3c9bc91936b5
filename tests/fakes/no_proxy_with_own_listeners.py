"""Workers with listeners of their own answer by themselves what they are to relay."""

import dataclasses

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import run

REJECTED_BY = {"LISTEN-MODES"}


def serve_without_backend(worker: Worker) -> None:
    if worker.options.listeners_apart:
        worker = dataclasses.replace(worker, options=dataclasses.replace(worker.options, backends=()))
    serve(worker)


if __name__ == "__main__":
    run(serve_without_backend)
