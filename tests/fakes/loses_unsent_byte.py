"""The proxy loses a byte wherever the kernel takes only a part of what it writes."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY", "PROXY-LARGE-REQUEST", "PROXY-SLOW-READER"}
PERHAPS_BY = {"PROXY-BROKEN-REPLY", "PROXY-EARLY-REPLY"}


def miscount_what_was_sent(worker: Worker) -> None:
    write = os.write

    def write_and_miscount(fd: int, data: bytes) -> int:
        written = write(fd, data)
        return written + 1 if written < len(data) else written

    if worker.options.backends:
        replace(os, "write", write_and_miscount)
    serve(worker)


if __name__ == "__main__":
    run(miscount_what_was_sent)
