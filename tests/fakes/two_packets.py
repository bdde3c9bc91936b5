"""Head and body are written apart."""

import os

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-ONE-PACKET"}


def write_head_and_body(worker: Worker) -> None:
    write = os.write
    head_length = worker.options.reply.find(b"<html>")

    def write_apart(fd: int, data: bytes) -> int:
        if data != worker.options.reply:
            return write(fd, data)
        written = write(fd, data[:head_length])
        try:
            return written + (write(fd, data[head_length:]) if written == head_length else 0)
        except BlockingIOError:
            return written

    replace(os, "write", write_apart)
    serve(worker)


if __name__ == "__main__":
    run(write_head_and_body)
