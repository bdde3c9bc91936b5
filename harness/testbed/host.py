"""What a testbed gives: three hosts, and where their packets are paid for."""

import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from harness.schema import PlannedCell, TestbedName


class Host(Protocol):
    """A place where processes run and have an address of their own."""

    @property
    def name(self) -> str:
        """``client``, ``server`` or ``backend``."""

    @property
    def address(self) -> str:
        """The IP address that the others reach it by."""

    @property
    def holder_pid(self) -> int | None:
        """A process in its network namespace; None where that is the harness's own."""

    @property
    def proc_net(self) -> Path:
        """The folder with the counters and tables of its network namespace (proc_pid_net(5))."""

    def reserve(self) -> AbstractContextManager[str]:
        """Hold ``IP:PORT`` for a server here; nobody else listens there. Raises OSError when none is free."""

    def socket(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """Open a TCP socket that connects from here. Raises OSError."""

    def sysctl(self, name: str) -> str:
        """Read a setting such as ``net.ipv4.ip_local_port_range``, with single spaces. Raises OSError."""

    def set_sysctl(self, name: str, value: str) -> None:
        """Change a setting of this host alone. Raises OSError, always where the host is the machine itself."""


class Testbed(Protocol):
    """Which hosts play client, server and backend."""

    @property
    def name(self) -> TestbedName:
        """How it is called on the command line and in files."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Why this one, and what it lacks; a sentence each."""

    @property
    def client(self) -> Host:
        """Where the generators run."""

    @property
    def server(self) -> Host:
        """Where the servers run."""

    @property
    def backend(self) -> Host:
        """Where the proxies' backend runs. Raises RuntimeError when the testbed was opened without one."""

    def steer(self, cell: PlannedCell) -> None:
        """Let each host's packets be received on the CPUs that it has in this cell, as far as that is possible.

        Raises BadInput when the kernel refuses these CPUs.
        """
