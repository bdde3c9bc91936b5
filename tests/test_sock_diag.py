"""What the kernel is asked about sockets, and its answers."""

import os
import socket
from contextlib import ExitStack

from harness import processes
from harness.conformance import sock_diag

MANY = 200
"""More than one answer of the kernel's holds."""
WITHIN_S = 10.0


def inode(connection: socket.socket) -> int:
    return os.fstat(connection.fileno()).st_ino


def test_all_connections_with_a_port_are_listed_and_no_others() -> None:
    with ExitStack() as stack:
        listener, other = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        address = listener.getsockname()
        stack.enter_context(socket.create_connection(other.getsockname()))
        accepted, clients = [], []
        for _ in range(MANY):
            clients.append(stack.enter_context(socket.create_connection(address)))
            accepted.append(stack.enter_context(listener.accept()[0]))
        assert sock_diag.inodes(local_port=address[1]) == set(map(inode, accepted))
        assert sock_diag.inodes(remote_port=address[1]) == set(map(inode, clients))
        assert sock_diag.inodes(local_port=address[1], states=[sock_diag.LISTEN]) == {inode(listener)}


def test_what_is_in_time_wait_is_not_listed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as client, listener.accept()[0] as accepted:
            ends = accepted.getsockname(), client.getsockname()
            accepted.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""

        def is_in_time_wait() -> bool:
            found = sock_diag.find(*ends)
            return found is not None and found.state == sock_diag.TIME_WAIT

        assert processes.wait_until(is_in_time_wait, WITHIN_S)
        assert not sock_diag.inodes(local_port=address[1])


def test_a_connection_that_nobody_answers_is_listed_as_such() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        first.connect(address)
        client.setblocking(False)  # noqa: FBT003  the standard library's signature
        client.connect_ex(address)
        assert sock_diag.inodes(remote_port=address[1], states=[sock_diag.SYN_SENT]) == {inode(client)}
