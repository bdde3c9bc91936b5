"""A proxy that has no local port left for a connection to a backend."""

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from harness import processes
from harness.registry import Implementation
from harness.servers import REQUEST
from tests.faults.limited import REPLY, TIMEOUT_S, Running, exchange, reply_to, running

_T = TypeVar("_T")
PORT = 40000
"""The only one that connect(2) may choose: enough for one connection to the backend, and not for two."""
BACKEND = ("127.0.0.1", 5000)
ALONE = f'ip link set lo up && sysctl -q -w net.ipv4.ip_local_port_range="{PORT} {PORT}" && exec "$@"'


def in_network_of(pid: int, act: Callable[[], _T]) -> _T:
    """Call in a thread that has moved into a process's network; a socket made there stays there."""

    def call() -> _T:
        with Path(f"/proc/{pid}/ns/net").open() as network:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(network.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")
        return act()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def test_local_ports_are_used_up__the_client_gets_502_and_the_backend_is_not_left_out(
    impl: Implementation, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("it takes root to enter a network namespace")
    alone = replace(impl, argv=("unshare", "--net", "sh", "-c", ALONE, "sh", *impl.argv))
    flags = ["--backend-rest", "60", "-x", f"{BACKEND[0]}:{BACKEND[1]}"]
    with running(alone, flags, tmp_path) as up, ExitStack() as stack:
        listener = stack.enter_context(in_network_of(up.worker, lambda: socket.create_server(BACKEND)))
        listener.settimeout(TIMEOUT_S)
        first, second, third = (stack.enter_context(connected(up, number)) for number in range(3))
        first.sendall(REQUEST)
        backend, _ = listener.accept()
        with backend:
            assert exchange(second).split()[1] == b"502"
            assert backend.recv(4096) == REQUEST
            backend.sendall(REPLY)
            assert reply_to(first) == REPLY
            with suppress(ConnectionResetError):  # which is how a proxy ends it; then its port is free
                assert backend.recv(1) == b""
        third.sendall(REQUEST)
        backend, _ = listener.accept()
        with backend:
            assert backend.recv(4096) == REQUEST
            backend.sendall(REPLY)
            assert reply_to(third) == REPLY
        assert processes.wait_until(lambda: up.count("backend_refused") == 1, TIMEOUT_S)
        assert up.count("backend_out") == 0


def connected(up: Running, number: int) -> socket.socket:
    """Connect to the server in its network, from a port that is not chosen by the kernel."""
    source = ("127.0.0.1", PORT - 1 - number)
    return in_network_of(up.worker, lambda: socket.create_connection(up.address, TIMEOUT_S, source_address=source))
