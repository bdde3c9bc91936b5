"""Everything on one host: server, generators and backend meet on loopback addresses and share nothing but memory.

A packet sent over loopback is received in the sender's context, so the client's CPU pays for much of the server's
receive path, and is often the limit. The verdict of a cell tells.
"""

import errno
import socket
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import ports
from harness.schema import PlannedCell, TestbedName
from harness.testbed import sysctl

__all__ = ["HOST", "Loopback"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _ThisMachine:
    """The network namespace that the harness is in."""

    name: Literal["client", "server", "backend"]
    address: str = HOST
    holder_pid: None = None
    proc_net: Path = Path("/proc/self/net")

    def reserve(self) -> AbstractContextManager[str]:
        return ports.reserve(HOST)

    def socket(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        return socket.socket(family, socket.SOCK_STREAM)

    def sysctl(self, name: str) -> str:
        return sysctl.read(name)

    def set_sysctl(self, name: str, value: str) -> None:
        raise OSError(errno.EPERM, f"{name}={value}: this machine's own settings are left as they are")


@dataclass(frozen=True, slots=True)
class Loopback:
    """All three hosts are this machine."""

    notes: tuple[str, ...] = ()
    name: TestbedName = "loopback"
    client: _ThisMachine = _ThisMachine("client")
    server: _ThisMachine = _ThisMachine("server")
    backend: _ThisMachine = _ThisMachine("backend")

    def steer(self, cell: PlannedCell) -> None:
        """Do nothing: what loopback receives is received where it was sent."""
