"""Backends that fail are left out for a while, and only those that cannot be reached."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import ports, processes
from harness.registry import find
from tests.faults.limited import REPLY, TIMEOUT_S, Running, exchange, running
from tests.peers import never, sending_each_time, serving

KEEP = ("epoll_raw", "epoll_raw+lean")
"""Those that are tried here."""
LONG_S, SHORT_S = 60.0, 0.3
REQUESTS = 12
AT_ONCE_S = 1.5
"""A wait for a backend would be much longer."""

name = pytest.mark.parametrize("name", KEEP)
kept = pytest.mark.parametrize("flags", [[], ["-k"]], ids=["short", "kept"])


@contextmanager
def proxy(name: str, flags: Sequence[str], backends: Sequence[str], rest_s: float, folder: Path) -> Iterator[Running]:
    [impl] = find(name)
    targets = [part for backend in backends for part in ("-x", backend)]
    with running(impl, [*flags, "--backend-rest", str(rest_s), *targets], folder) as up:
        yield up


def status(up: Running) -> bytes:
    """Ask on a new connection; return the status of the reply."""
    with up.connect() as client:
        return exchange(client).split()[1]


@contextmanager
def silent() -> Iterator[str]:
    """Listen somewhere without ever accepting, with the queue full: who connects gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield ports.join(*listener.getsockname())


@name
@kept
def test_one_of_two_backends_refuses__it_is_tried_once_and_all_requests_are_answered(
    name: str, flags: Sequence[str], tmp_path: Path
) -> None:
    with (
        ports.reserve("127.0.0.1") as refusing,
        serving(sending_each_time(REPLY)) as live,
        proxy(name, flags, [refusing, ports.join(*live)], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"200"] * REQUESTS
        assert processes.wait_until(lambda: up.count("backend_refused") > 0, TIMEOUT_S)
        assert (up.count("backend_refused"), up.count("backend_out"), up.count("no_backend")) == (1, 1, 0)


@name
@kept
def test_a_backend_returns__it_gets_requests_again_after_its_rest(
    name: str, flags: Sequence[str], tmp_path: Path
) -> None:
    asked = threading.Event()

    def returned(connection: socket.socket) -> None:
        if connection.recv(4096):
            asked.set()
            connection.sendall(REPLY)

    with (
        ports.reserve("127.0.0.1") as returning,
        serving(sending_each_time(REPLY)) as live,
        proxy(name, flags, [returning, ports.join(*live)], SHORT_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"200"] * REQUESTS
        with socket.create_server(ports.split(returning), reuse_port=False) as listener:

            def accept() -> None:
                connection, _ = listener.accept()
                with connection:
                    returned(connection)

            acceptor = threading.Thread(target=accept)
            acceptor.start()
            try:
                assert processes.wait_until(lambda: status(up) == b"200" and asked.is_set(), TIMEOUT_S)
            finally:
                with socket.create_connection(ports.split(returning)):
                    acceptor.join()


@name
@kept
def test_all_backends_refuse__clients_get_502_at_once_and_no_backend_is_tried_meanwhile(
    name: str, flags: Sequence[str], tmp_path: Path
) -> None:
    with (
        ports.reserve("127.0.0.1") as first,
        ports.reserve("127.0.0.1") as second,
        proxy(name, flags, [first, second], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        assert processes.wait_until(lambda: up.count("no_backend") == REQUESTS - 1, TIMEOUT_S)
        assert (up.count("backend_refused"), up.count("backend_out")) == (2, 2)


@name
@kept
def test_the_only_backend_does_not_accept_in_time__the_first_client_gets_504_and_others_502_at_once(
    name: str, flags: Sequence[str], tmp_path: Path
) -> None:
    with silent() as backend, proxy(name, [*flags, "--connect-timeout", "0.5"], [backend], LONG_S, tmp_path) as up:
        assert status(up) == b"504"
        began_s = time.monotonic()
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        assert time.monotonic() - began_s < AT_ONCE_S
        assert processes.wait_until(lambda: up.count("no_backend") == REQUESTS, TIMEOUT_S)
        assert (up.count("backend_timeout"), up.count("backend_out")) == (1, 1)


@name
@kept
@pytest.mark.parametrize("how", ["ends without a reply", "does not answer in time"])
def test_a_backend_that_accepts_gives_no_reply__it_is_not_left_out(
    name: str, flags: Sequence[str], how: str, tmp_path: Path
) -> None:
    def end(connection: socket.socket) -> None:
        connection.recv(4096)

    handler, expected = (end, b"502") if how.startswith("ends") else (never, b"504")
    with (
        serving(handler) as backend,
        proxy(name, [*flags, "--reply-timeout", "0.2"], [ports.join(*backend)], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(3)] == [expected] * 3
        kind = "backend_broken" if how.startswith("ends") else "backend_timeout"
        assert processes.wait_until(lambda: up.count(kind) == 3, TIMEOUT_S)
        assert (up.count("backend_out"), up.count("no_backend")) == (0, 0)
