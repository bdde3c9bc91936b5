"""Which connections are asked on whose CPU their packets arrive, and what workers tell of that."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness import ports, processes
from harness.plan import REFERENCE
from harness.registry import Implementation, find
from harness.servers import Server
from harness.testbed import Testbed as Hosts  # pytest takes what is called Test… for a test
from impls import counters
from impls.locality import Sample
from impls.worker import Worker
from tests import namespaces

MANY = 40_000
CONNECTIONS, EXCHANGES = 1500, 400
TOLD_WITHIN_S = 60.0
NEARLY_ALL = 0.95
EVENLY = 0.1


class Recorded(Sample):
    """Keeps which of those that it counted it would have asked."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__(worker(), counters.LOCAL_ACCEPTS, counters.SAMPLED_ACCEPTS)
        self.asked: list[int] = []

    def ask(self, fd: int) -> None:  # noqa: D102  of the base
        super().ask(-1)
        self.asked.append(fd)


def worker() -> Worker:
    [row] = counters.rows(1)
    return cast("Worker", SimpleNamespace(index=0, cpu=0, counters=row))


def asked_of(number: int) -> list[int]:
    sample = Recorded()
    for fd in range(number):
        sample.skip -= 1
        if sample.skip < 0:
            sample.ask(fd)
    return sample.asked


def test_one_in_fifty_is_asked_and_of_a_hundred_in_a_row_one_at_least() -> None:
    asked = asked_of(MANY)
    assert len(asked) == pytest.approx(MANY / 50, rel=EVENLY)
    assert max(later - one for one, later in pairwise([-1, *asked, MANY])) <= 100


@pytest.mark.parametrize("turns", [2, 3, 8, 16, 31])
def test_what_comes_by_turns_is_asked_as_often_as_all(turns: int) -> None:
    asked = Counter(number % turns for number in asked_of(turns * MANY))
    assert len(asked) == turns
    assert all(count == pytest.approx(MANY / 50, rel=EVENLY) for count in asked.values()), asked


def test_what_has_no_cpu_does_not_count() -> None:
    one = worker()
    sample = Sample(one, counters.LOCAL_ACCEPTS, counters.SAMPLED_ACCEPTS)
    near, far = socket.socketpair()  # of the family AF_UNIX, which no packet reaches
    with near, far:
        sample.ask(near.fileno())
    sample.ask(-1)
    assert one.counters[counters.SAMPLED_ACCEPTS] == one.counters[counters.LOCAL_ACCEPTS] == 0


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[Hosts]:
    """Steer the server's packets to two CPUs."""
    with namespaces.steered() as testbed:
        yield testbed


def test_with_a_listener_for_each_cpu_connections_are_local(
    two_cpus: Hosts, impl: Implementation, tmp_path: Path
) -> None:
    assert share_of_local(two_cpus, impl, "percpu", tmp_path) > NEARLY_ALL


def test_with_a_listener_that_ports_decide_on_connections_are_not_local(two_cpus: Hosts, tmp_path: Path) -> None:
    # Whose CPU it is, is chance: of the 30 that are asked all but one or none are local once in 30 million runs.
    assert share_of_local(two_cpus, find(REFERENCE)[0], "reuseport", tmp_path) < NEARLY_ALL


def share_of_local(testbed: Hosts, impl: Implementation, mode: str, directory: Path) -> float:
    """Have two workers serve connections, and return what they tell of those."""
    flags = ["-w", "2", "-v", "--listen", mode]
    with (
        testbed.server.reserve() as address,
        Server(impl, flags, [address], directory, mode, host=testbed.server, cpus=namespaces.CPUS) as server,
    ):
        server.wait_listening()
        for _ in range(CONNECTIONS):
            with testbed.client.socket() as client:
                client.settimeout(TOLD_WITHIN_S)
                client.connect(ports.split(address))
                client.sendall(b"request")
                assert client.recv(1)
        assert processes.wait_until(lambda: sum(told(server, r"accepted (\d+)")) >= CONNECTIONS, TOLD_WITHIN_S)
        return sum(told(server, r"local_accepts (\d+)/")) / sum(told(server, r"local_accepts \d+/(\d+)"))


def test_each_connection_counts_once_and_each_read_that_brought_data_from_a_backend(
    impl: Implementation, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as backend,
        ports.reserve("127.0.0.1") as address,
        Server(impl, ["-w", "1", "-v", "-x", ports.join(*backend.getsockname())], [address], tmp_path, "one") as server,
    ):
        server.wait_listening()
        backend.settimeout(TOLD_WITHIN_S)
        for _ in range(EXCHANGES):
            relay_up_to_the_end(ports.split(address), backend)
        assert processes.wait_until(lambda: sum(told(server, r"requests (\d+)")) >= EXCHANGES, TOLD_WITHIN_S)
        # Which are asked is drawn from the worker's number.
        due = len(asked_of(EXCHANGES))
        assert sum(told(server, r"local_accepts \d+/(\d+)")) == due
        assert sum(told(server, r"local_backends \d+/(\d+)")) == due


def relay_up_to_the_end(address: tuple[str, int], backend: socket.socket) -> None:
    """Exchange with a backend whose reply ends with its stream, which the server has to read, too."""
    with socket.create_connection(address, TOLD_WITHIN_S) as client:
        client.sendall(b"request")
        with backend.accept()[0] as at_backend:
            at_backend.settimeout(TOLD_WITHIN_S)
            assert at_backend.recv(100)
            at_backend.sendall(b"HTTP/1.0 200 OK\r\n\r\nreply")
        assert client.makefile("rb").read().endswith(b"reply")


def told(server: Server, pattern: str) -> list[int]:
    """Find a number in each of the workers' lines."""
    return [int(number) for line in server.stderr_lines() for number in re.findall(rf"^worker .* {pattern}", line)]
