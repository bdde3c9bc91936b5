"""A connection is closed after the first piece of a request, so that the next one is answered by a reset."""

from impls.epoll_raw import short
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-SPLIT-REQUEST"}


def take_all_for_whole(worker: Worker) -> None:
    replace(short, "GET", b"")
    replace(short, "BLANK_LINE", b"")
    serve(worker)


if __name__ == "__main__":
    run(take_all_for_whole)
