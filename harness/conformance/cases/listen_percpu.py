"""The listen mode percpu: a connection goes to the worker on the CPU that received its SYN.

Over loopback the CPU of a client receives what that sends, as the kernel puts it into that CPU's own queue.
"""

import itertools
from collections.abc import Sequence

from harness import processes
from harness.conformance import sock_diag
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.listen_mode import TWO, two_addresses
from harness.conformance.loopback import two_cpus
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import SETTLE_S, cpus_of, expect_workers
from harness.resources import socket_inodes
from harness.servers import REQUEST

SECTION = Section()

_TITLE = "percpu gives a connection to a worker on the CPU that received its SYN"
_CLIENTS = 8
_MOST_CLIENTS = 64
"""So many leave out none of two workers on one CPU, of which each connection goes to one by chance."""


@SECTION.case("LISTEN-PERCPU", _TITLE, server="none")
def percpu(subject: Subject) -> None:
    """Connect to each of two addresses from each of two CPUs that have three workers, so the first CPU has two."""
    cpus = two_cpus()
    flags = ["-w", "3", "--oversubscribe", "-k", "--listen", "percpu"]
    server = subject.start(flags, two_addresses(subject), cpus=cpus)
    pids = expect_workers(subject, server, 3)
    if not processes.wait_until(lambda: sorted(map(_cpu_of, pids)) == [cpus[0], *cpus], SETTLE_S):
        raise ContractViolation(f"workers on CPU {cpus[0]} {cpus[0]} {cpus[1]}", f"{[cpus_of(pid) for pid in pids]}")
    for address, cpu in itertools.product(server.listen, cpus):
        _expect_accepted_there(subject, address, cpu, pids)


@SECTION.case("LISTEN-PERCPU", _TITLE, server="none", name="no worker there")
def from_elsewhere(subject: Subject) -> None:
    """Connect from a CPU that no worker runs on: somebody serves."""
    with_workers, without = two_cpus()
    server = subject.start([*TWO, "--listen", "percpu"], cpus=[with_workers])
    expect_workers(subject, server, 2)
    for _ in range(_CLIENTS):
        _client_on(without, subject, server.listen[0])


def _expect_accepted_there(subject: Subject, address: str, cpu: int, pids: Sequence[int]) -> None:
    wanted = {pid for pid in pids if _cpu_of(pid) == cpu}
    accepting: set[int] = set()
    for number in range(_MOST_CLIENTS):
        if number >= _CLIENTS and accepting >= wanted:
            break
        accepting.add(_worker_of(_client_on(cpu, subject, address), pids))
    if accepting != wanted:
        raise ContractViolation(
            f"connections from CPU {cpu} to {address} accepted by each worker there ({len(wanted)}), and by no other",
            f"{len(accepting)} that accept, on CPU {' '.join(map(str, sorted(map(_cpu_of, accepting))))}",
        )


def _cpu_of(pid: int) -> int:
    """Tell the one CPU that a worker may use; -1 when these are several."""
    cpus = cpus_of(pid)
    return int(min(cpus)) if len(cpus) == 1 and min(cpus).isdigit() else -1


def _client_on(cpu: int, subject: Subject, address: str) -> Connection:
    with processes.staying_on({cpu}):
        client = subject.connect(address)
        client.send(REQUEST)
        client.receive_reply(f"a reply to a client on CPU {cpu}")
    return client


def _worker_of(client: Connection, pids: Sequence[int]) -> int:
    """Tell which worker has accepted a connection."""
    other_end = sock_diag.find(client.remote, client.local)
    for pid in pids:
        if other_end is not None and other_end.inode in socket_inodes(pid):
            return pid
    raise ContractViolation("a connection that a worker holds", "one that none does")
