"""A connection to the backend is made as soon as a client comes, and then another for its request."""

import socket

from impls.addresses import Address
from impls.epoll_raw.accept import Accept, WatchedListeners
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-NEW-CONNECTION"}


def connect_for_each_client(worker: Worker) -> None:
    acceptor = WatchedListeners._acceptor
    unused: list[socket.socket] = []

    def connect(address: Address) -> None:
        connection = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.connect_ex((address.host, address.port))
        unused.append(connection)

    def connecting_acceptor(listeners: WatchedListeners, listener: socket.socket) -> Accept:
        accept = acceptor(listeners, listener)

        def accept_and_connect(limit: int) -> list[int]:
            accepted = accept(limit)
            for _ in accepted:
                connect(worker.options.backends[0])
            return accepted

        return accept_and_connect

    if worker.options.backends:
        replace(WatchedListeners, "_acceptor", connecting_acceptor)
    serve(worker)


if __name__ == "__main__":
    run(connect_for_each_client)
