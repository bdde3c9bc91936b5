"""Servers in a listen mode, and who of them holds which listener."""

import socket
from collections.abc import Sequence
from typing import Final

from harness import ports
from harness.conformance import sock_diag
from harness.conformance.subject import Subject
from harness.resources import socket_inodes
from harness.servers import Server, ServerFailed
from harness.variants import LISTEN_MODES

TWO: Final = ("-w", "2", "--oversubscribe")
EXCLUSIVE: Final = "exclusive"
"""The mode that a server may refuse."""
APART: Final = ("reuseport", "percpu")
"""Those in which each worker has listeners of its own."""
SURE: Final = tuple(mode for mode in LISTEN_MODES if mode != EXCLUSIVE)
"""Those that no server may refuse."""


def start(subject: Subject, mode: str, flags: Sequence[str], addresses: Sequence[str] | None = None) -> Server | None:
    """Start a server as ``Subject.start`` does; None where it does not start in the mode that it may refuse."""
    try:
        return subject.start([*flags, "--listen", mode], addresses)
    except ServerFailed:
        if mode != EXCLUSIVE:
            raise
        return None


def two_addresses(subject: Subject) -> list[str]:
    """Reserve two addresses, the second of IPv6 where there is that."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return [subject.reserve(), subject.reserve()]
    return [subject.reserve(), subject.reserve("::1")]


def listeners(address: str) -> list[sock_diag.SocketState]:
    """Ask the kernel for all that listen on an address."""
    return sock_diag.listeners(ports.split(address))


def held(server: Server, address: str) -> dict[int, list[sock_diag.SocketState]]:
    """Tell which of them each worker holds, by process id."""
    there_are = listeners(address)
    found = {}
    for pid in server.worker_pids():
        try:
            inodes = socket_inodes(pid)
        except ProcessLookupError:  # it has just ended
            continue
        found[pid] = [listener for listener in there_are if listener.inode in inodes]
    return found
