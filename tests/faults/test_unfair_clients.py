"""A client that sends without end, or leaves in the middle, is no burden to others and no fault of its backend's."""

import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import ports, processes
from harness.registry import Implementation
from tests.faults.limited import REPLY, TIMEOUT_S, exchange, running
from tests.peers import serving

OTHERS = 4
WITHIN_S = 8.0
"""For each of the others: no measure of speed, only much less than for ever."""
BEGIN = b"POST / HTTP/1.1\r\nContent-Length: 900000000000\r\n\r\n"
FLOODS = {"tiny requests": b"A \r\n\r\n" * 10_000, "a large one": BEGIN + bytes(60_000)}
FLOODING = """
import socket, sys
block = sys.stdin.buffer.read()
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
for sent in range(sys.maxsize):
    connection.sendall(block)
    if sent == 20:
        print("under way", flush=True)
"""
LEAVING = 20
HELD_BACK_S = 0.5
MOST_BUFFERED = 2 * sum(int(Path(f"/proc/sys/net/ipv4/tcp_{end}mem").read_text().split()[-1]) for end in "rw")
"""What the kernel holds of a request on its way through a proxy, if all buffers grow: on a busy machine they may."""
HELD_BACK = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MOST_BUFFERED + bytes(MOST_BUFFERED)


def only_small_ones_answered(connection: socket.socket) -> None:
    """Answer a GET; of anything else read all and say nothing."""
    received = connection.recv(65536)
    if received.startswith(b"GET "):
        connection.sendall(REPLY)
    while connection.recv(1 << 20):
        pass


@contextmanager
def flooding(address: tuple[str, int], block: bytes) -> Iterator[None]:
    """Send a block over and over, from a process of its own, which must not be stopped meanwhile."""
    host, port = address
    with subprocess.Popen([sys.executable, "-c", FLOODING, host, str(port)], stdin=-1, stdout=-1, stderr=-1) as client:
        try:
            assert client.stdin
            assert client.stdout
            client.stdin.write(block)
            client.stdin.close()
            assert client.stdout.readline(), "the client cannot send"
            yield
            assert client.poll() is None, "the client was stopped"
        finally:
            client.kill()


@pytest.mark.parametrize("mode", ["server", "proxy", "kept proxy"])
@pytest.mark.parametrize("block", FLOODS.values(), ids=FLOODS)
def test_a_client_sends_without_end__others_get_their_replies(
    impl: Implementation, mode: str, block: bytes, tmp_path: Path
) -> None:
    flags = ["-k"] if mode == "kept proxy" else []
    with serving(only_small_ones_answered) as backend:
        if mode != "server":
            flags += ["-x", ports.join(*backend)]
        with running(impl, flags, tmp_path) as up, flooding(up.address, block):
            for _ in range(OTHERS):
                began_s = time.monotonic()
                with up.connect() as other:
                    assert b" 200 " in exchange(other)
                assert time.monotonic() - began_s < WITHIN_S


@pytest.mark.parametrize("flags", [[], ["-k"]], ids=["short", "kept"])
def test_clients_reset_while_their_requests_are_held_back__the_backend_sees_the_ends_and_is_not_to_blame(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        with running(impl, [*flags, "-x", ports.join(*listener.getsockname())], tmp_path) as up:
            clients = [up.connect() for _ in range(LEAVING)]
            with ThreadPoolExecutor(LEAVING) as threads:
                list(threads.map(expect_held_back, clients))
            backends = [listener.accept()[0] for _ in clients]
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            assert processes.wait_until(lambda: all(map(has_ended_unread, backends)), WITHIN_S)
            for backend in backends:
                backend.close()
            assert up.count_in_the_end("read") == LEAVING
            assert [up.count(f"backend_{kind}") for kind in ("refused", "timeout", "broken")] == [0, 0, 0]


def expect_held_back(client: socket.socket) -> None:
    """Send a request that is not taken whole, as its backend reads nothing."""
    client.settimeout(HELD_BACK_S)
    with pytest.raises(TimeoutError):
        client.sendall(HELD_BACK)


def has_ended_unread(connection: socket.socket) -> bool:
    """Tell whether the other end has ended the connection or reset it, although what it sent was not read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
