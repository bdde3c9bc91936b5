"""Of very many connections that are open at once one is closed unanswered."""

import os
import socket

from impls.epoll_raw.accept import Accept, WatchedListeners
from tests.fakes._alter import replace, run

REJECTED_BY = {"MANY-1000"}
DESCRIPTOR = 900
"""The kernel gives the lowest that is free, so only one of many connections gets this."""


def main() -> None:
    acceptor = WatchedListeners._acceptor

    def dropping_acceptor(listeners: WatchedListeners, listener: socket.socket) -> Accept:
        accept = acceptor(listeners, listener)

        def accept_but_one(limit: int) -> list[int]:
            accepted = accept(limit)
            if DESCRIPTOR in accepted:
                accepted.remove(DESCRIPTOR)
                os.close(DESCRIPTOR)
            return accepted

        return accept_but_one

    replace(WatchedListeners, "_acceptor", dropping_acceptor)
    run()


if __name__ == "__main__":
    main()
