"""Backends that fail are left out for a while, and only those that cannot be reached."""

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from harness import ports, processes
from harness.conformance import sock_diag
from harness.registry import Implementation, find
from harness.resources import socket_inodes
from harness.servers import REQUEST
from tests.faults.limited import REPLY, TIMEOUT_S, Running, exchange, file_limit, reply_to, running
from tests.held_worker import held
from tests.peers import never, sending_each_time, serving

LONG_S, SHORT_S = 60.0, 0.3
REQUESTS = 12
CLIENTS = 8
WITHOUT_DESCRIPTOR = 24
MOST_FREE = 4
"""Descriptors that a worker may have had for other uses, and those in reserve."""
AT_ONCE_S = 5.0
"""For REQUESTS one after the other. With a wait for a backend each time, of a second or more, they would take at least
12 s; so the machine may be busy."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)

kept = pytest.mark.parametrize("flags", [[], ["-k"]], ids=["short", "kept"])


@contextmanager
def proxy(
    impl: Implementation, flags: Sequence[str], backends: Sequence[str], rest_s: float, folder: Path
) -> Iterator[Running]:
    targets = [part for backend in backends for part in ("-x", backend)]
    with running(impl, [*flags, "--backend-rest", str(rest_s), *targets], folder) as up:
        yield up


def status(up: Running) -> bytes:
    """Ask on a new connection; return the status of the reply."""
    with up.connect() as client:
        return exchange(client).split()[1]


@contextmanager
def silent(address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """Listen somewhere without ever accepting, with the queue full: who connects gets no answer."""
    with socket.socket() as listener:
        listener.bind(address)
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield ports.join(*listener.getsockname())


@kept
def test_one_of_two_backends_refuses__it_is_tried_once_and_all_requests_are_answered(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    with (
        ports.reserve("127.0.0.1") as refusing,
        serving(sending_each_time(REPLY)) as live,
        proxy(impl, flags, [refusing, ports.join(*live)], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"200"] * REQUESTS
        assert up.count_in_the_end("backend_refused") == 1
        assert (up.count("backend_out"), up.count("no_backend")) == (1, 0)


@kept
def test_a_backend_returns__it_gets_requests_again_after_its_rest(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    asked = threading.Event()

    def returned(connection: socket.socket) -> None:
        if connection.recv(4096):
            asked.set()
            connection.sendall(REPLY)

    with (
        ports.reserve("127.0.0.1") as returning,
        serving(sending_each_time(REPLY)) as live,
        proxy(impl, flags, [returning, ports.join(*live)], SHORT_S, tmp_path) as up,
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


@kept
def test_all_backends_refuse__clients_get_502_at_once_and_no_backend_is_tried_meanwhile(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    with (
        ports.reserve("127.0.0.1") as first,
        ports.reserve("127.0.0.1") as second,
        proxy(impl, flags, [first, second], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        assert up.count_in_the_end("no_backend") == REQUESTS - 1
        assert (up.count("backend_refused"), up.count("backend_out")) == (2, 2)


@kept
def test_the_only_backend_does_not_accept_in_time__the_first_client_gets_504_and_others_502_at_once(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    with silent() as backend, proxy(impl, [*flags, "--connect-timeout", "1"], [backend], LONG_S, tmp_path) as up:
        assert status(up) == b"504"
        began_s = time.monotonic()
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        assert time.monotonic() - began_s < AT_ONCE_S
        assert up.count_in_the_end("no_backend") == REQUESTS
        assert (up.count("backend_timeout"), up.count("backend_out")) == (1, 1)


@kept
@pytest.mark.parametrize("how", ["ends without a reply", "does not answer in time"])
def test_a_backend_that_accepts_gives_no_reply__it_is_not_left_out(
    impl: Implementation, flags: Sequence[str], how: str, tmp_path: Path
) -> None:
    def end(connection: socket.socket) -> None:
        connection.recv(4096)

    handler, expected, within_s = (end, b"502", TIMEOUT_S) if how.startswith("ends") else (never, b"504", 0.2)
    with (
        serving(handler) as backend,
        proxy(impl, [*flags, "--reply-timeout", str(within_s)], [ports.join(*backend)], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(3)] == [expected] * 3
        kind = "backend_broken" if how.startswith("ends") else "backend_timeout"
        assert up.count_in_the_end(kind) == 3
        assert (up.count("backend_out"), up.count("no_backend")) == (0, 0)


@kept
def test_a_backend_accepts_and_resets_at_once__it_is_not_left_out(
    impl: Implementation, flags: Sequence[str], tmp_path: Path
) -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    with (
        serving(reset) as backend,
        proxy(impl, flags, [ports.join(*backend)], LONG_S, tmp_path) as up,
    ):
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        # Whether it has got the request by then is a matter of chance.
        found = ("backend_refused", "backend_broken")
        assert up.server.stop() == 0
        assert sum(up.count(kind) for kind in found) == REQUESTS
        assert (up.count("backend_out"), up.count("no_backend")) == (0, 0)


def test_a_backend_swallows_connections__after_each_rest_it_costs_one_client_and_not_all(
    impl: Implementation, tmp_path: Path
) -> None:
    rest_s, watched_s = 0.5, 3.0
    connect_s = 2.0  # longer than a busy machine holds up a worker, which may then take what came for too late
    with (
        silent() as swallowing,
        serving(sending_each_time(REPLY)) as live,
        proxy(impl, ["--connect-timeout", str(connect_s)], [swallowing, ports.join(*live)], rest_s, tmp_path) as up,
    ):
        assert status(up) == b"504"
        until_s = time.monotonic() + watched_s

        def ask(_: int) -> list[bytes]:
            statuses = []
            while time.monotonic() < until_s:
                statuses.append(status(up))
            return statuses

        with ThreadPoolExecutor(CLIENTS) as clients:
            statuses = [one for each in clients.map(ask, range(CLIENTS)) for one in each]
        late = statuses.count(b"504")
        assert 1 <= late <= watched_s / (rest_s + connect_s) + 1
        assert statuses.count(b"200") == len(statuses) - late


def test_who_had_a_502_resets_while_another_waits_for_the_backend__others_have_theirs_at_once(
    impl: Implementation, tmp_path: Path
) -> None:
    with (
        ports.reserve("127.0.0.1") as backend,
        proxy(impl, ["-k", "--connect-timeout", str(LONG_S)], [backend], SHORT_S, tmp_path) as up,
        ExitStack() as stack,
    ):
        told = stack.enter_context(up.connect())
        told.sendall(REQUEST)
        assert b" 502 " in told.recv(4096)
        stack.enter_context(silent(ports.split(backend)))

        asking: list[socket.socket] = []

        def is_tried() -> bool:
            if select.select(asking, [], [], 0)[0] or not asking:  # the last one had its 502: the backend rests still
                asking[:] = [stack.enter_context(up.connect())]
                asking[0].sendall(REQUEST)
            waiting = sock_diag.inodes(remote_port=ports.split(backend)[1], states=[sock_diag.SYN_SENT])
            return bool(waiting & socket_inodes(up.worker))

        assert processes.wait_until(is_tried, TIMEOUT_S, every_s=SHORT_S / 10)
        told.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        told.close()
        began_s = time.monotonic()
        assert [status(up) for _ in range(REQUESTS)] == [b"502"] * REQUESTS
        assert time.monotonic() - began_s < AT_ONCE_S


def test_no_descriptor_is_left_for_a_backend__each_client_gets_504_after_the_connect_timeout_and_none_is_left_out(
    impl: Implementation, tmp_path: Path
) -> None:
    may_answer = threading.Event()

    def answer(connection: socket.socket) -> None:
        if connection.recv(4096):
            may_answer.wait(TIMEOUT_S)
            connection.sendall(REPLY)

    # With -k who has had a 504 keeps its descriptor; else those who began to wait a little later would get that.
    flags = ["-k", "--connect-timeout", "1"]
    within_s = 8.0  # a busy machine may make them late; one after the other they would have theirs after 24 s
    with (
        serving(answer) as first,
        serving(answer) as second,
        proxy(impl, flags, [ports.join(*first), ports.join(*second)], LONG_S, tmp_path) as up,
        ExitStack() as stack,
    ):
        stack.callback(may_answer.set)
        before = up.connections()
        clients = [stack.enter_context(up.connect()) for _ in range(WITHOUT_DESCRIPTOR + MOST_FREE)]
        assert processes.wait_until(lambda: up.connections() - before >= len(clients), TIMEOUT_S)
        with file_limit(up.worker, 0):
            began_s = time.monotonic()
            with held(up.worker):  # so that all begin to wait at once
                for client in clients:
                    client.sendall(REQUEST)
            expect_answered(clients, WITHOUT_DESCRIPTOR, within_s)
            assert time.monotonic() - began_s > 0.8
        may_answer.set()
        # How many find a descriptor after all hangs on how many a library has to spare: MOST_FREE at most.
        statuses = [reply_to(client).split()[1] for client in clients]
        late = statuses.count(b"504")
        assert late >= WITHOUT_DESCRIPTOR
        assert statuses.count(b"200") == len(clients) - late
        assert processes.wait_until(lambda: up.count("backend_timeout") == late, TIMEOUT_S)
        assert (up.count("backend_refused"), up.count("backend_out")) == (0, 0)
        assert processes.wait_until(lambda: status(up) == b"200", TIMEOUT_S)


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])  # the others read no more from a client that waits
def test_a_client_goes_while_no_descriptor_is_left_for_its_backend__nobody_connects_there_for_it(
    name: str, tmp_path: Path
) -> None:
    [impl] = find(name)
    came: list[socket.socket] = []
    may_end = threading.Event()

    def answer(connection: socket.socket) -> None:
        came.append(connection)
        if len(came) == 1:
            may_end.wait(TIMEOUT_S)
        elif connection.recv(4096):
            connection.sendall(REPLY)

    with (
        serving(answer) as backend,
        proxy(impl, ["--idle-timeout", "0.5"], [ports.join(*backend)], LONG_S, tmp_path) as up,
        ExitStack() as stack,
    ):
        stack.callback(may_end.set)
        has_the_reserve, waits = stack.enter_context(up.connect()), up.connect()
        assert processes.wait_until(lambda: up.connections() == 2, TIMEOUT_S)
        with file_limit(up.worker, 0):
            has_the_reserve.sendall(REQUEST)
            assert processes.wait_until(lambda: len(came) == 1, TIMEOUT_S)
            waits.sendall(REQUEST)
            assert processes.wait_until(lambda: "socket: Too many open files" in up.server.log_text(), TIMEOUT_S)
            waits.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            waits.close()
            assert processes.wait_until(lambda: up.connections() == 1, TIMEOUT_S)
        with up.connect() as idle:  # for so long the worker has time for whoever waits still
            assert idle.recv(1) == b""
        assert status(up) == b"200"
        assert len(came) == 2


def expect_answered(clients: Sequence[socket.socket], count: int, within_s: float) -> None:
    """Wait until so many have a reply."""
    ready: list[socket.socket] = []

    def enough() -> bool:
        ready[:] = select.select(clients, [], [], 0)[0]
        return len(ready) >= count

    assert processes.wait_until(enough, within_s), f"{len(ready)} of {len(clients)} clients have a reply"


@pytest.mark.parametrize(
    "part", [b"POST / HTTP/1.0\r\nContent-Le", b"POST / HTTP/1.0\r\nContent-Length: 9\r\n\r\n1234"]
)
def test_a_client_stops_within_its_request__it_is_closed_as_idle_and_its_backend_is_not_blamed(
    impl: Implementation, part: bytes, tmp_path: Path
) -> None:
    flags = ["--reply-timeout", "0.3", "--idle-timeout", "1.2"]
    with serving(never) as backend, proxy(impl, flags, [ports.join(*backend)], LONG_S, tmp_path) as up:
        with up.connect() as client:
            client.sendall(part)
            with suppress(ConnectionResetError):
                assert client.recv(4096) == b"", "it got a reply"
        assert processes.wait_until(lambda: up.count("idle") == 1, TIMEOUT_S)
        assert up.count("backend_timeout") == 0


def test_a_backend_takes_no_more_of_a_request__the_client_gets_504_after_the_reply_timeout(
    impl: Implementation, tmp_path: Path
) -> None:
    is_over = threading.Event()

    def hold(_: socket.socket) -> None:
        is_over.wait(TIMEOUT_S)

    head = b"POST / HTTP/1.0\r\nContent-Length: 100000000\r\n\r\n"
    with (
        serving(hold) as backend,
        proxy(impl, ["--reply-timeout", "0.5"], [ports.join(*backend)], LONG_S, tmp_path) as up,
        up.connect() as client,
        ExitStack() as stack,
    ):
        stack.callback(is_over.set)
        client.sendall(head)
        block = bytes(1 << 20)
        until_s = time.monotonic() + TIMEOUT_S
        while not select.select([client], [], [], 0)[0]:
            assert time.monotonic() < until_s, "it got no reply"
            if select.select([], [client], [], 0.1)[1]:
                client.send(block, socket.MSG_DONTWAIT)
        assert client.recv(4096).split()[1] == b"504"
        assert processes.wait_until(lambda: up.count("backend_timeout") == 1, TIMEOUT_S)


def test_replies_take_longer_than_the_idle_time__none_is_lost(impl: Implementation, tmp_path: Path) -> None:
    slow = threading.Event()

    def answer_late(connection: socket.socket) -> None:
        if connection.recv(4096):
            slow.wait(0.5)  # it is never set
            connection.sendall(REPLY)

    with (
        serving(answer_late) as backend,
        proxy(impl, ["--idle-timeout", "0.3"], [ports.join(*backend)], LONG_S, tmp_path) as up,
    ):
        for _ in range(3):
            with ExitStack() as stack:
                with held(up.worker):  # so that none is idle between its accept and its request
                    clients = [stack.enter_context(up.connect()) for _ in range(40)]
                    for client in clients:
                        client.sendall(REQUEST)
                assert [reply_to(client) for client in clients] == [REPLY] * len(clients)
