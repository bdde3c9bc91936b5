r"""Hosts that are network namespaces of this machine, joined by a switch.

      client 10.0.0.1 ---\
      server 10.0.0.2 ----+ a bridge in a namespace of its own, a veth pair to each
     backend 10.0.0.3 ---/

The namespaces have no names, and processes hold them (``build.py``): two runs at once do not see each other's, and
nothing has to be cleaned up after a run, however it ended.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness import ports, processes
from harness.errors import BadInput
from harness.schema import PlannedCell, TestbedName
from harness.testbed import door
from harness.testbed.door import DEVICE, Built, Door, ReadSysctl, Steer, SteerFlows, WriteSysctl

ADDRESSES = {"client": "10.0.0.1", "server": "10.0.0.2", "backend": "10.0.0.3"}
END_TIMEOUT_S = 2.0
_ROOT = Path(__file__).resolve().parents[2]
_SERVER_PORTS = range(2_000, 10_000)
_LOCAL_PORTS = {"client": "1024 65535", "server": "10000 65535"}
"""What connections may take on their side, which for a minute keeps those that it closed: the client nearly all there
are, since kept connections are closed by it; the server's host all that it does not listen on."""
_SYSCTLS = {"net.ipv4.tcp_tw_reuse": "1"}
"""A port in TIME_WAIT is free again for another connection after a second."""


class CannotBuild(Exception):  # noqa: N818  as subprocess.TimeoutExpired: what happened
    """Namespaces cannot be made here; the text tells why."""


class NamespaceHost:
    """A host with a network namespace, known by the process that holds it."""

    def __init__(self, name: str, holder_pid: int, holder: Door) -> None:
        self.name = name
        self.address = ADDRESSES[name]
        self.holder_pid = holder_pid
        self.proc_net = Path(f"/proc/{holder_pid}/net")
        self._door = holder
        self._reserved: set[int] = set()
        self._next_port = _SERVER_PORTS.start

    @contextmanager
    def reserve(self) -> Iterator[str]:
        """Hold ``IP:PORT``. A port is not given out again soon: a server may not be able to take it so early."""
        port = self._free_port()
        self._reserved.add(port)
        try:
            yield ports.join(self.address, port)
        finally:
            self._reserved.remove(port)

    def socket(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """Open a TCP socket in the namespace."""
        return self._door.open_socket(family)

    def sysctl(self, name: str) -> str:
        """Read a setting of the namespace."""
        return self._door.ask(ReadSysctl(name))

    def set_sysctl(self, name: str, value: str) -> None:
        """Change a setting of the namespace."""
        self._door.ask(WriteSysctl(name, value))

    def steer(self, cpus: tuple[int, ...]) -> None:
        """Receive on these CPUs. Raises OSError."""
        self._door.ask(Steer(DEVICE, cpus))

    def steer_flows(self, entries: int) -> None:
        """Remember the CPUs of so many connections (``flow_steering.py``). Raises OSError."""
        self._door.ask(SteerFlows(DEVICE, entries))

    def _free_port(self) -> int:
        for _ in _SERVER_PORTS:
            port = self._next_port
            self._next_port = port + 1 if port + 1 in _SERVER_PORTS else _SERVER_PORTS.start
            if port not in self._reserved:
                return port
        raise OSError(f"{self.address} has no free port")


@dataclass(slots=True)
class Netns:
    """The testbed; see ``host.Testbed``."""

    client: NamespaceHost
    server: NamespaceHost
    _backend: NamespaceHost | None
    _switch: Door
    _steerable: bool
    notes: tuple[str, ...] = ()
    name: TestbedName = field(default="netns", init=False)

    @property
    def backend(self) -> NamespaceHost:
        """Where the proxies' backend runs. Raises RuntimeError when the testbed was opened without one."""
        if self._backend is None:
            raise RuntimeError("this testbed was opened without a backend")
        return self._backend

    def steer(self, cell: PlannedCell) -> None:
        """Receive each host's packets on its own CPUs, and forward them between hosts on the server's.

        Left alone, the switch works in the context of who sends, and then a client pays for its requests' way and the
        server for its replies', up to the other's device. On short connections both CPUs were 97 % busy like that, and
        nothing could be said of which was the limit; this way it is 99 % of the server's and 88 % of the client's. A
        real server pays for the driver of its network card in the same way. Raises BadInput.
        """
        if not self._steerable:
            return
        try:
            self.client.steer(cell.generator_cpus)
            self.server.steer(cell.server_cpus)
            self._forward("client", cell.server_cpus)
            self._forward("server", ())  # what comes in there was sent by the server's CPUs
            if self._backend:
                self._backend.steer(cell.backend_cpus)
                self._forward("backend", cell.server_cpus)
        except OSError as problem:
            raise BadInput(
                f"--testbed netns: packets cannot be steered to the CPUs of {cell.key}: {problem.strerror or problem}; "
                "the kernel takes none that are isolated (isolcpus); give others, or --testbed loopback"
            ) from problem

    def _forward(self, port: str, cpus: tuple[int, ...]) -> None:
        self._switch.ask(Steer(port, cpus))


@contextmanager
def build(*, with_backend: bool) -> Iterator[Netns]:
    """Make the namespaces, and end in the end what holds them. Raises CannotBuild."""
    names = [name for name in ADDRESSES if with_backend or name != "backend"]
    with ExitStack() as stack:
        control, holders, built = _start(stack, names)
        hosts = {
            name: NamespaceHost(name, pid, holder)
            for name, pid, holder in zip(names, built.holder_pids, holders, strict=True)
        }
        try:
            _set_sysctls(hosts)
        except OSError as problem:
            raise CannotBuild(f"a setting cannot be changed: {problem.strerror or problem}") from problem
        notes = (_no_steering_note(built.no_steering),) if built.no_steering else ()
        backend = hosts.get("backend")
        yield Netns(hosts["client"], hosts["server"], backend, control, not built.no_steering, notes)


def _start(stack: ExitStack, names: list[str]) -> tuple[Door, list[Door], Built]:
    """Start the builder, and wait until it is done. The stack ends it."""
    outer, inner = door.pair()
    command = [sys.executable, "-m", "harness.testbed.build", *(f"{name}={ADDRESSES[name]}" for name in names)]
    with inner:
        builder = processes.start(
            command, cwd=_ROOT, stdin=inner.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    stack.callback(_end, builder)
    control = Door(outer)
    stack.callback(control.close)
    try:
        answer, descriptors = control.receive()
    except OSError as problem:
        raise CannotBuild(_last_line(builder) or str(problem.strerror or problem)) from problem
    holders = [Door(socket.socket(fileno=descriptor)) for descriptor in descriptors]
    for holder in holders:
        stack.callback(holder.close)
    return control, holders, msgspec.json.decode(answer.text, type=Built)


def _end(builder: subprocess.Popen[bytes]) -> None:
    """Wait for the end of the builder, whose door was closed, and with it of the hosts' holders."""
    with suppress(subprocess.TimeoutExpired):
        builder.wait(END_TIMEOUT_S)
    builder.kill()
    builder.wait()
    if builder.stderr:
        builder.stderr.close()


def _last_line(builder: subprocess.Popen[bytes]) -> str:
    """Tell what a builder that broke off said last; it says nothing when it told of its problem itself."""
    if builder.stderr is None or not processes.wait_ended(builder.pid, END_TIMEOUT_S):
        return ""
    return builder.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]


def _set_sysctls(hosts: dict[str, NamespaceHost]) -> None:
    for name, host in hosts.items():
        for setting, value in _SYSCTLS.items():
            host.set_sysctl(setting, value)
        if name in _LOCAL_PORTS:
            host.set_sysctl("net.ipv4.ip_local_port_range", _LOCAL_PORTS[name])


def _no_steering_note(why: str) -> str:
    return (
        f"no receive steering: it takes root and a /sys that can be written ({why}); "
        "so the CPU of who sends a packet pays for much of what receiving it costs, and by it --listen percpu chooses"
    )
