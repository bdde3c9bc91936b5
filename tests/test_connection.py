"""What a case learns about the other end of its connection."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from harness import processes
from harness.conformance.connection import Connection
from harness.conformance.violation import ContractViolation

TIMEOUT_S = 10.0
GAP_S = 0.3
KERNEL_TICK_S = 0.01


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """Connect two sockets; the first is a case's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        closing(socket.create_connection(listener.getsockname())) as client,
        closing(listener.accept()[0]) as other,
    ):
        yield Connection(client, listener.getsockname()), other


def test_bytes_that_nobody_reads_are_at_rest(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    connection.send(b"x" * 100)
    connection.wait_at_rest(is_sending=lambda: False)
    assert connection.wait_arrived(TIMEOUT_S)


def test_bytes_that_are_read_on_and_on_are_never_at_rest(ends: tuple[Connection, socket.socket]) -> None:
    connection, other = ends

    def read_one() -> bool:  # at each look
        other.recv(1)
        return False

    connection.send(b"x" * 100_000)
    with pytest.raises(ContractViolation, match="bytes still taken after 1 s"):
        connection.wait_at_rest(read_one, timeout_s=1.0)


def test_data_counts_from_when_it_has_arrived_and_neither_its_reading_nor_the_end_does(
    ends: tuple[Connection, socket.socket],
) -> None:
    connection, other = ends
    began_s = time.monotonic()
    other.sendall(b"x")
    assert processes.wait_until(lambda: connection.since_data_s() >= GAP_S, TIMEOUT_S)
    assert time.monotonic() - began_s >= GAP_S - KERNEL_TICK_S
    connection.expect(b"x", "a byte")
    other.close()
    connection.expect_end("after it")
    assert connection.since_data_s() >= GAP_S
