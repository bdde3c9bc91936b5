"""Planted limits: each verdict must be given where its cause was put there on purpose."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from harness import processes
from harness.analysis import verdicts
from harness.group_run import StartClients
from harness.loadgen import Client, Generator, clients
from harness.registry import Implementation
from harness.schema import Cell, PlannedCell
from harness.schema import Client as ClientName
from harness.selftest.experiment import PLAIN, Experiment, tampered
from harness.testbed import Host, Testbed

BUDGET_S = 2.0
SLOW_SHARE = 3.0
"""What a slowed generator and a slow backend take more of CPU time, as a share of what they take by themselves."""
SLOW_SERVER_SHARE = 1.0
"""A server that takes so much more is the limit on any machine."""
FEW_PORTS = "50000 50049"
PORT_RANGE = "net.ipv4.ip_local_port_range"
SMALL_BACKLOG = 2
LOW_RATE_RPS = 500

Place = Callable[[Cell], PlannedCell]
"""Chooses the CPUs of a cell."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A planted limit, and the verdict that it got."""

    cause: str
    expected: str
    found: str
    """Empty where it could not be planted; ``evidence`` then says why."""
    evidence: str

    @property
    def is_named(self) -> bool:
        """Whether the verdict names what was planted."""
        return self.found == self.expected


@dataclass(frozen=True, kw_only=True)
class _Planted:
    """What differs from a plain run."""

    cause: str
    expected: str
    cell: Cell = field(default_factory=lambda: Cell("short", 1, 100))
    server: Implementation = PLAIN
    backend: Implementation = PLAIN
    start_clients: StartClients = clients.start
    on_one_cpu: bool = False


def find_all(testbed: Testbed, place: Place, seed: int) -> Iterator[Limit]:
    """Plant one after the other. Raises ServerFailed, GeneratorFailed and BackendEnded."""
    slow = tampered("slow-server", "slower", SLOW_SERVER_SHARE * 100)
    for planted in (
        _Planted(cause="a slow server", expected=verdicts.SERVER_BOUND, server=slow),
        _Planted(cause="a slowed generator", expected=verdicts.CLIENT_BOUND, start_clients=_start_slowed),
        _Planted(
            cause="a slow backend",
            expected=verdicts.BACKEND_BOUND,
            cell=Cell("proxy", 1, 100),
            backend=tampered("slow-backend", "slower", SLOW_SHARE * 100),
        ),
        _Planted(
            cause="a tiny backlog",
            expected=verdicts.BACKLOG_DROP,
            server=tampered("small-backlog", "backlog", SMALL_BACKLOG),
        ),
        _Planted(cause="server and client on one CPU", expected=verdicts.SHARED_CPUS, on_one_cpu=True),
        _Planted(cause="a low rate", expected=verdicts.UNSATURATED, cell=Cell("short", 1, 100, LOW_RATE_RPS)),
    ):
        yield _find(planted, testbed, place, seed)
    yield _with_few_ports(testbed, place, seed)
    with _another_program(place(Cell("short", 1, 100)).server_cpus):
        planted = _Planted(cause="another program on the server's CPU", expected=verdicts.NOISY, server=slow)
        yield _find(planted, testbed, place, seed)


def _find(planted: _Planted, testbed: Testbed, place: Place, seed: int) -> Limit:
    cell = place(planted.cell)
    if planted.on_one_cpu:
        cell = replace(cell, generator_cpus=cell.server_cpus)
    measured = Experiment(
        implementations=[planted.server],
        cell=cell,
        testbed=testbed,
        budget_s=BUDGET_S,
        seed=seed,
        backend=planted.backend,
        start_clients=planted.start_clients,
    ).run()
    judged = measured.cells[planted.server.name]
    return Limit(planted.cause, planted.expected, judged.verdict, judged.evidence)


def _with_few_ports(testbed: Testbed, place: Place, seed: int) -> Limit:
    planted = _Planted(cause="too few ports", expected=verdicts.PORT_BOUND)
    if testbed.name == "loopback":
        return Limit(planted.cause, planted.expected, "", "not tried: on loopback the ports are the whole machine's")
    before = testbed.client.sysctl(PORT_RANGE)
    testbed.client.set_sysctl(PORT_RANGE, FEW_PORTS)
    try:
        return _find(planted, testbed, place, seed)
    finally:
        testbed.client.set_sysctl(PORT_RANGE, before)


def _start_slowed(stack: ExitStack, _name: ClientName, cpus: Sequence[int], host: Host) -> list[Client]:
    return [stack.enter_context(Generator(cpu, host, slowed_by=SLOW_SHARE)) for cpu in cpus]


@contextmanager
def _another_program(cpus: Sequence[int]) -> Iterator[None]:
    """Have something else compute on some CPUs."""
    busy = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    process = processes.start(busy, cwd=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cpus=cpus)
    try:
        yield
    finally:
        process.kill()
        process.wait()
