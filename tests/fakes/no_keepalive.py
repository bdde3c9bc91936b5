"""With ``-k`` the reply says keep-alive, and then the connection is closed all the same."""

import dataclasses

from impls import contract
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"KEEP-MANY", "KEEP-PIECES", "KEEP-SLOW-READER"}


def close_after_each_reply(worker: Worker) -> None:
    if worker.options.keepalive and not worker.options.backends:
        replace(contract, "REPLY_CLOSE", contract.REPLY_KEEP_ALIVE)
        worker = dataclasses.replace(worker, options=dataclasses.replace(worker.options, keepalive=False))
    serve(worker)


if __name__ == "__main__":
    run(close_after_each_reply)
