"""Without descriptors left a server goes on, without a busy loop, and serves again when there are some."""

import re
import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness import ports, processes
from harness.observe import cpu_time
from harness.registry import Implementation, find
from harness.servers import Server

[REFERENCE] = find("epoll_raw")
SPARE = 10
CLIENTS = 40
RECOVERS_WITHIN_S = 5.0
BUSY_NS = 600_000_000
"""Of two seconds. A loop that does nothing but fail takes all of what it gets of its CPU."""


@contextmanager
def running(impl: Implementation, flags: Sequence[str], directory: Path, name: str) -> Iterator[Server]:
    with ports.reserve("127.0.0.1") as address, Server(impl, flags, [address], directory, name) as server:
        server.wait_ready()
        yield server


@pytest.mark.parametrize("mode", ["server", "proxy"])
def test_without_descriptors_left_a_server_goes_on(impl: Implementation, mode: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        flags = ["-w", "1", "-v"]
        if mode == "proxy":
            backend = stack.enter_context(running(REFERENCE, ["-w", "1"], tmp_path, "backend"))
            flags += ["-x", *backend.listen]
        server = stack.enter_context(running(impl, flags, tmp_path, "server"))
        [worker] = server.worker_pids()
        used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + SPARE, used + SPARE))
        with ExitStack() as clients:
            for _ in range(CLIENTS):
                clients.enter_context(socket.create_connection(ports.split(server.listen[0]), 5))
            before = cpu_time([worker])
            lines = len(server.stderr_lines())
            assert processes.wait_until(lambda: len(server.stderr_lines()) >= lines + 4, 10)  # two seconds' lines
            assert (cpu_time([worker]) - before).total_ns < BUSY_NS, "a busy loop"
            if impl.name != "uvloop":  # it tells of none
                assert processes.wait_until(lambda: failed_accepts(server) > 0, 10), "descriptors were left"
                told = "accept: Too many open files; this worker may have no more: raise the limit"
                assert processes.wait_until(lambda: told in server.log_text(), 10)
        server.wait_ready(RECOVERS_WITHIN_S)
        assert server.worker_pids() == [worker]


def failed_accepts(server: Server) -> int:
    return sum(map(int, re.findall(r" accept=(\d+)", "\n".join(server.stderr_lines()))))
