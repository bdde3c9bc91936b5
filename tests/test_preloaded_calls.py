"""Servers call what a Fastsocket library takes over, in its order and through libc; READMEs say what goes past it."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest

from harness import ports, preload, processes
from harness.registry import Implementation, find, vary
from harness.servers import Server
from harness.variants import Variant
from tests.preload import calls
from tests.preload.calls import Call

WORKERS, CONNECTIONS = 2, 20
TIMEOUT_S = 30.0
USES_IO_URING = {"uvloop"}
"""Who registers through io_uring where the kernel has it; listeners through libc before, for a trial."""
CLOSES_BY_NUMBER = {"uvloop"}
"""Who closes connections by syscall(2)."""


@dataclass(frozen=True)
class Noted:
    """What a server has called from its start to its end, with some connections between."""

    calls: list[Call]
    parent: int
    workers: dict[int, int]
    """The CPU of each, by its process id."""

    @property
    def listener(self) -> int:
        """The descriptor of the only listening socket; the workers have inherited it."""
        [listen] = [call for call in self.calls if call.name == "listen"]
        return listen.fd

    def of(self, pid: int) -> list[Call]:
        """Return the calls of a process; a worker's begin where fork returns to it."""
        return [call for call in self.calls if call.pid == pid]

    def has_io_uring(self, pid: int) -> bool:
        """Tell whether a process has set one up."""
        return any(call.name == "syscall:io_uring_setup" and call.result >= 0 for call in self.of(pid))


def note(impl: Implementation, library: Path, folder: Path) -> Noted:
    """Start a server with the library, connect when all workers have registered the listener, and stop it."""
    written = folder / "calls"
    with_library = vary(impl, Variant(preload=preload.describe(str(library))))
    flags = ["-w", str(WORKERS), "--oversubscribe", "--grace", str(TIMEOUT_S)]
    with (
        pytest.MonkeyPatch.context() as patched,
        ports.reserve("127.0.0.1") as address,
    ):
        patched.setenv("PERCORE_CALLS", str(written))
        with Server(with_library, flags, [address], folder, "server") as server:
            server.wait_listening()
            assert processes.wait_until(lambda: len(_registered(written)) == WORKERS, TIMEOUT_S)
            workers = {pid: min(os.sched_getaffinity(pid)) for pid in server.worker_pids()}
            for _ in range(CONNECTIONS):
                with socket.create_connection(ports.split(address), TIMEOUT_S) as client:
                    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    while client.recv(4096):
                        pass
            assert server.stop(timeout_s=TIMEOUT_S) == 0
        return Noted(calls.read(written), server.pid, workers)


def _registered(written: Path) -> set[int]:
    """Tell which processes have registered a listening socket so far."""
    noted = calls.read(written)
    listening = {call.fd for call in noted if call.name == "listen"}
    return {call.pid for call in noted if call.adds and call.fd in listening}


def test_servers_call_what_a_fastsocket_library_takes_over(
    impl: Implementation, tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    noted = note(impl, calls.compile_library(tool, tmp_path), tmp_path)
    assert_opened_before_the_forks(noted)
    assert_registered_by_each_worker_on_its_cpu(noted)
    assert_accepted_and_closed(noted, impl.name)
    assert impl.name in USES_IO_URING or not any(map(noted.has_io_uring, noted.workers))


def test_on_a_kernel_without_io_uring_uvloop_registers_all_through_libc(
    tool: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERCORE_NO_IO_URING", "1")
    [uvloop] = find("uvloop")
    noted = note(uvloop, calls.compile_library(tool, tmp_path), tmp_path)
    assert not any(map(noted.has_io_uring, noted.workers))
    assert_registered_by_each_worker_on_its_cpu(noted)
    for worker in noted.workers:
        accepted = {call.result for call in noted.of(worker) if call.accepts}
        assert accepted <= {call.fd for call in noted.of(worker) if call.adds}


def assert_opened_before_the_forks(noted: Noted) -> None:
    """See that the parent opens the one listener, and only then forks the workers, through libc."""
    parents = noted.of(noted.parent)
    before = list(takewhile(lambda call: call.name != "fork", parents))
    names = [call.name for call in before if noted.listener in {call.fd, call.result}]
    assert names[-2:] == ["socket", "listen"]
    assert {call.result for call in parents if call.name == "fork"} == set(noted.workers)


def assert_registered_by_each_worker_on_its_cpu(noted: Noted) -> None:
    """See that a worker registers the inherited listener through libc when it is bound, before it tries to accept."""
    for worker, cpu in noted.workers.items():
        begin, *calls_of_worker = noted.of(worker)
        assert (begin.name, begin.result) == ("fork", 0)
        on_listener = [call for call in calls_of_worker if call.fd == noted.listener]
        first, *_ = on_listener
        assert first.name == "epoll_ctl"
        before = [call for call in takewhile(lambda call: not call.accepts, on_listener) if call.result == 0]
        registering = [call for call in before if call.name == "epoll_ctl"]
        assert registering[0].adds
        assert registering[0].cpu == cpu
        if any(call.accepts for call in on_listener):
            assert (registering[-1].operation == calls.DELETE) == noted.has_io_uring(worker)


def assert_accepted_and_closed(noted: Noted, name: str) -> None:
    """See that all connections are accepted through libc, each by one worker on its CPU, and how they are closed."""
    close = "syscall:close" if name in CLOSES_BY_NUMBER else "close"
    accepted = 0
    for worker, cpu in noted.workers.items():
        opened: set[int] = set()
        for call in noted.of(worker):
            if call.accepts:
                assert (call.fd, call.cpu) == (noted.listener, cpu)
                assert call.result not in opened, "it was closed in another way, as its number has come again"
                opened.add(call.result)
                accepted += 1
            elif call.name == close:
                opened.discard(call.fd)
        assert not opened
    assert accepted == CONNECTIONS
