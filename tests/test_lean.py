"""What ``--lean`` must not change."""

import socket
import threading
from pathlib import Path

from harness import ports
from harness.registry import find
from harness.servers import Server
from tests.peers import REPLY, serving

TIMEOUT_S = 10.0


def test_a_client_that_sends_more_before_the_reply_still_gets_it_whole(tmp_path: Path) -> None:
    """Its close would be a reset if the second piece were not read, and a corked reply would be lost with it."""
    arrived, may_answer = threading.Event(), threading.Event()

    def backend(connection: socket.socket) -> None:
        connection.recv(4096)
        arrived.set()
        may_answer.wait(TIMEOUT_S)
        connection.sendall(REPLY)

    [lean] = find("epoll_raw+lean")
    with (
        serving(backend) as (host, port),
        ports.reserve("127.0.0.1") as address,
        Server(lean, ["-w", "1", "-x", ports.join(host, port)], [address], tmp_path, "lean") as server,
    ):
        server.wait_listening()
        with socket.create_connection(ports.split(address), TIMEOUT_S) as client:
            client.sendall(b"one piece, ")
            assert arrived.wait(TIMEOUT_S)
            client.sendall(b"and another")
            may_answer.set()
            received = b""
            while data := client.recv(4096):
                received += data
    assert received == REPLY
