"""A process that keeps a network namespace, and carries out in it what the harness asks for (``door.py``)."""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from harness.testbed import namespaces, steering, sysctl
from harness.testbed.door import DEVICE, OpenSocket, ReadSysctl, Request, SetUp, Steer, SteerFlows, WriteSysctl

PREFIX_LENGTH = 24
_QUIET = {"net.ipv6.conf.default.addr_gen_mode": "1"}
"""IN6_ADDR_GEN_MODE_NONE: no device talks on the wire about an IPv6 address that nobody asked for."""


class Holder:
    """What this process does for its namespace."""

    def __init__(self) -> None:
        """Move this process into a new network namespace. Raises OSError."""
        namespaces.unshare_network()
        self._no_steering = ""
        try:
            namespaces.mount_sysfs()
        except OSError as problem:
            # Then /sys shows the devices of another namespace, and is not to be touched.
            self._no_steering = str(problem.strerror)
        for name, value in _QUIET.items():
            if sysctl.path(name).exists():  # not in a kernel without IPv6
                sysctl.path(name).write_text(value)

    def carry_out(self, request: Request, stack: ExitStack) -> tuple[str, Sequence[int]]:
        """Do what is asked for; see ``door.CarryOut``."""
        match request:
            case OpenSocket(family):
                return "", [stack.enter_context(socket.socket(family, socket.SOCK_STREAM)).fileno()]
            case ReadSysctl(name):
                return sysctl.read(name), []
            case WriteSysctl(name, value):
                sysctl.path(name).write_text(value)
            case Steer(device, cpus):
                self._check_steerable()
                steering.steer(device, cpus)
            case SteerFlows(device, entries):
                self._check_steerable()
                steering.steer_flows(device, entries)
            case SetUp(address):
                return self._set_up(address), []
        return "", []

    def _check_steerable(self) -> None:
        if self._no_steering:
            raise OSError(errno.EPERM, self._no_steering)

    def _set_up(self, address: str) -> str:
        """Bring the host up, and tell why it cannot be steered; an empty text when it can."""
        from harness.testbed import links  # noqa: PLC0415  the builder decides when the time for it is taken

        links.set_up_host(address, PREFIX_LENGTH)
        if not self._no_steering:
            try:
                steering.check(DEVICE)
            except OSError as problem:
                self._no_steering = str(problem.strerror)
        return self._no_steering
