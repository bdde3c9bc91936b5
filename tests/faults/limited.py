"""Servers for the tests of limits and of backends: one worker, whose process and whose counts are known."""

import os
import re
import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import ports, processes
from harness.conformance import sock_diag
from harness.registry import Implementation
from harness.resources import socket_inodes
from harness.servers import REQUEST, Server
from tests.peers import sending_each_time
from tests.peers import serving as backend_serving

TIMEOUT_S = 10.0
REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REPLY_END = (b"hello", b"</html>")
"""How replies end, a backend's and a server's own."""
_BACKEND = "-x"


@dataclass
class Running:
    """A server with one worker."""

    server: Server
    address: tuple[str, int]
    worker: int

    def connect(self) -> socket.socket:
        """Connect to it, with a time limit for each step."""
        return socket.create_connection(self.address, TIMEOUT_S)

    def count(self, kind: str) -> int:
        """Tell how often something went wrong so far, as the -v lines do."""
        lines = [line for line in self.server.stderr_lines() if line.startswith("worker ") and " errors " in line]
        return sum(int(found[1]) for line in lines if (found := re.search(rf" {kind}=(\d+)", line)))

    def count_in_the_end(self, kind: str) -> int:
        """Stop the server, whose last lines come then and not within a second, and tell the same."""
        self.server.stop()
        return self.count(kind)

    def connections(self) -> int:
        """Count the clients' connections that the worker has accepted."""
        _, port = self.address
        return len(sock_diag.inodes(local_port=port) & socket_inodes(self.worker))


@contextmanager
def running(impl: Implementation, flags: Sequence[str], folder: Path) -> Iterator[Running]:
    """Run a server with -v and these flags until it has answered."""
    with (
        ports.reserve("127.0.0.1") as address,
        Server(impl, ["-w", "1", "-v", *flags], [address], folder, "limited") as server,
    ):
        server.wait_listening()
        assert processes.wait_until(lambda: len(server.worker_pids()) == 1, TIMEOUT_S)
        up = Running(server, ports.split(address), server.worker_pids()[0])
        yield up
        assert server.worker_pids() in ([up.worker], []), "the worker was replaced"


@contextmanager
def file_limit(pid: int, spare: int) -> Iterator[None]:
    """Leave a process room for so many descriptors more than it has."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208  only names are wanted
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + spare, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def failing(strace: str, pid: int, call: str, error: str, folder: Path) -> Iterator[None]:
    """Let each system call of a kind fail in a process, as if the kernel had said so."""
    command = [strace, "-p", str(pid), "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    said = folder / "strace.err"
    with said.open("wb") as stderr:
        tracer = processes.start(command, cwd=folder, stdout=None, stderr=stderr)
        try:

            def attached_or_ended() -> bool:
                # It says so when it has told the process to stop; the kernel shows it as its tracer before that.
                return f"Process {pid} attached\n" in said.read_text() or processes.wait_ended(tracer.pid, 0)

            assert processes.wait_until(attached_or_ended, TIMEOUT_S), said.read_text()
            assert not processes.wait_ended(tracer.pid, 0), said.read_text()
            yield
        finally:
            tracer.terminate()  # it lets go of the process
            tracer.wait()


@contextmanager
def mode_of(flags: Sequence[str]) -> Iterator[list[str]]:
    """Give a backend to flags that end with ``-x``."""
    if _BACKEND not in flags:
        yield [*flags]
        return
    with backend_serving(sending_each_time(REPLY)) as (host, port):
        yield [*flags, ports.join(host, port)]


def reply_to(client: socket.socket) -> bytes:
    """Read one reply."""
    received = b""
    while not received.endswith(REPLY_END):
        data = client.recv(65536)
        if not data:
            break
        received += data
    return received


def exchange(client: socket.socket) -> bytes:
    client.sendall(REQUEST)
    return reply_to(client)
