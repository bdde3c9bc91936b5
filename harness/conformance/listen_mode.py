"""Servers in a listen mode, and who of them holds which listener."""

from collections.abc import Sequence
from typing import Final

from harness import ports
from harness.conformance import sock_diag
from harness.conformance.subject import Subject
from harness.resources import socket_inodes
from harness.servers import Server, ServerFailed

TWO: Final = ("-w", "2", "--oversubscribe")
EXCLUSIVE: Final = "exclusive"
"""The mode that a server may refuse."""
APART: Final = ("reuseport", "percpu")
"""Those in which each worker has listeners of its own."""


def start(subject: Subject, mode: str, flags: Sequence[str], also: Sequence[str] = ()) -> Server | None:
    """Start a server with addresses beside its own; None where it does not start in the mode that it may refuse."""
    beside = ["-a", *also] if also else []
    try:
        return subject.start([*flags, "--listen", mode, *beside], also=also)
    except ServerFailed:
        if mode != EXCLUSIVE:
            raise
        return None


def listeners(server: Server) -> list[sock_diag.SocketState]:
    """Ask the kernel for all that listen on the server's first address."""
    return sock_diag.listeners(ports.split(server.listen[0]))


def held(server: Server) -> dict[int, list[sock_diag.SocketState]]:
    """Tell which of them each worker holds, by process id."""
    there_are = listeners(server)
    found = {}
    for pid in server.worker_pids():
        try:
            inodes = socket_inodes(pid)
        except ProcessLookupError:  # it has just ended
            continue
        found[pid] = [listener for listener in there_are if listener.inode in inodes]
    return found
