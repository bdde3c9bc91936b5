"""A client that goes on sending after its reply is read from for a while, and not for ever."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from harness import ports, processes
from harness.registry import Implementation
from tests.faults.limited import REPLY, TIMEOUT_S, reply_to, running
from tests.peers import serving

MOST_S = 1.0
"""Instead of 30: less than the silence that would end it, too."""
BYTE_EVERY_S = 0.1
ALTERED = (
    f"import runpy, impls.contract as c; c.LINGER_MOST_S = {MOST_S}; "
    "runpy.run_module('impls.{}', run_name='__main__', alter_sys=True)"
)
BEGUN = b"POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\n"


def early(connection: socket.socket) -> None:
    """Answer a request that has just begun, and stay."""
    connection.recv(4096)
    connection.sendall(REPLY)
    while connection.recv(4096):
        pass


def goes_on(client: socket.socket, is_over: Callable[[], bool]) -> None:
    """Send a byte again and again until the connection is reset."""
    while not is_over():
        try:
            client.sendall(b"x")
        except ConnectionError:
            return
        time.sleep(BYTE_EVERY_S)  # the pace is what is tried


@pytest.mark.parametrize("mode", ["server", "proxy"])
def test_a_client_sends_byte_after_byte_when_it_has_its_reply__it_is_closed_in_the_end(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    altered = replace(impl, argv=(sys.executable, "-c", ALTERED.format(impl.name)))
    with ExitStack() as stack:
        flags = []
        if mode == "proxy":
            flags = ["-x", ports.join(*stack.enter_context(serving(early)))]
        up = stack.enter_context(running(altered, flags, tmp_path))
        client = stack.enter_context(up.connect())
        began_s = time.monotonic()
        client.sendall(BEGUN)
        assert reply_to(client)
        assert client.recv(1) == b"", "the reply's stream has no end"
        stopped = threading.Event()
        sender = threading.Thread(target=goes_on, args=[client, stopped.is_set])
        sender.start()
        stack.callback(sender.join)
        stack.callback(stopped.set)
        assert processes.wait_until(lambda: not sender.is_alive(), TIMEOUT_S), "it is open still"
        assert processes.wait_until(lambda: not up.connections(), TIMEOUT_S)
        assert time.monotonic() - began_s > MOST_S / 2
