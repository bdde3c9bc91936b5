"""The proxy does not tell the backend that the client has ended its stream."""

import socket

from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-HALF-CLOSE", "PROXY-KEEP"}


def end_only_towards_clients(worker: Worker) -> None:
    backends = {(address.host, address.port) for address in worker.options.backends}
    shutdown = socket.socket.shutdown

    def shut_down_clients(connection: socket.socket, how: int) -> None:
        if connection.getpeername() not in backends:
            shutdown(connection, how)

    replace(socket.socket, "shutdown", shut_down_clients)
    serve(worker)


if __name__ == "__main__":
    run(end_only_towards_clients)
