"""A server's worker that is held still while its clients do several things, all of which it then finds at once."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import ports, processes
from harness.conformance.worker import suspend
from harness.registry import find
from harness.servers import Server

TIMEOUT_S = 10.0


@contextmanager
def worker_of(name: str, flags: Sequence[str], folder: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """Run a server with one worker; tell its address and the worker's process."""
    [implementation] = find(name)
    with (
        ports.reserve("127.0.0.1") as address,
        Server(implementation, ["-w", "1", *flags], [address], folder, "x") as up,
    ):
        up.wait_listening()
        assert processes.wait_until(lambda: len(up.worker_pids()) == 1, TIMEOUT_S)
        yield ports.split(address), up.worker_pids()[0]


@contextmanager
def held(pid: int) -> Iterator[None]:
    try:
        suspend(pid)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
