"""The reset of a client that has ended its stream is not noticed."""

from impls.epoll_raw import pairs
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-CLIENT-GONE"}


def see_no_reset(worker: Worker) -> None:
    replace(pairs, "_GONE", 0)
    serve(worker)


if __name__ == "__main__":
    run(see_no_reset)
