"""A client whose backends all fail gets nothing."""

from impls import failures
from impls.epoll_raw import pair_relay
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-502", "PROXY-502-BROKEN", "PROXY-ALL-OUT"}


def close_silently(worker: Worker) -> None:
    for module in (pair_relay, failures):
        replace(module, "BAD_GATEWAY", b"")
    serve(worker)


if __name__ == "__main__":
    run(close_silently)
