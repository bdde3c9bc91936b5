"""A complete reply does not end the exchange."""

from impls import framing
from impls.epoll_raw import proxy
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-END-LENGTH", "PROXY-SPLIT-REPLY", "PROXY-EARLY-REPLY", "PROXY-RESET-BACKEND"}


def wait_for_the_end(worker: Worker) -> None:
    replace(framing, "_reply_body_length", lambda _: framing._UNTIL_END)
    replace(proxy, "is_one_reply", lambda _: False)
    serve(worker)


if __name__ == "__main__":
    run(wait_for_the_end)
