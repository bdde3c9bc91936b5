"""What ``--lean`` must not change."""

import socket
import threading
from pathlib import Path

from harness import ports
from tests.held_worker import TIMEOUT_S, held, worker_of
from tests.peers import REPLY, serving


def test_a_client_that_sends_more_before_the_reply_still_gets_it_whole(tmp_path: Path) -> None:
    """Its close would be a reset if the second piece were not read, and a corked reply would be lost with it."""
    arrived, may_answer = threading.Event(), threading.Event()

    def backend(connection: socket.socket) -> None:
        connection.recv(4096)
        arrived.set()
        may_answer.wait(TIMEOUT_S)
        connection.sendall(REPLY)

    with (
        serving(backend) as (host, port),
        worker_of("epoll_raw+lean", ["-x", ports.join(host, port)], tmp_path) as (address, worker),
    ):
        with held(worker):
            client = socket.create_connection(address, TIMEOUT_S)
            # Else the second piece would wait for the first one's ACK, which comes with the reply.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(b"one piece, ")
        with client:
            assert arrived.wait(TIMEOUT_S)
            client.sendall(b"and another")
            may_answer.set()
            received = b""
            while data := client.recv(4096):
                received += data
    assert received == REPLY
