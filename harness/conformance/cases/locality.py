"""The share of connections whose packets arrive on the worker's own CPU."""

import re

from harness import processes
from harness.conformance.backend import Backend, reply_with_length
from harness.conformance.case import Section
from harness.conformance.counted import COUNTED_WITHIN_S
from harness.conformance.loopback import two_cpus
from harness.conformance.setting import LOOPBACK
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, TooLate
from harness.servers import Server

SECTION = Section()

_KINDS = ("local_accepts", "local_backends")
_TITLE = "the -v lines tell of how many connections the packets arrive on the worker's own CPU"
_ASKED = 5
_CONNECTIONS = 100 * _ASKED
"""From one CPU, one after the other: so many that the contract has as many of them asked as are to be."""
_NEARLY_NONE, _NEARLY_ALL = 0.25, 0.75
"""What a worker that is late meets now and then is a packet that the kernel has sent again, from another CPU."""


@SECTION.case("STAT-LOCALITY", _TITLE, server="none")
def locality(subject: Subject) -> None:
    """Let client and backend be on the CPU of the one worker, then on another.

    On loopback packets arrive where they left.
    """
    worker_cpu, other_cpu = two_cpus()
    for cpu, least, most in ((worker_cpu, _NEARLY_ALL, 1.0), (other_cpu, 0.0, _NEARLY_NONE)):
        backend = subject.backend([LOOPBACK])
        server = subject.start(["-w", "1", "-c", str(worker_cpu), "-v", "-x", backend.address])
        _relay(subject, server, backend, cpu)
        _expect_share(server, 0, least, most, f"as the worker is on CPU {worker_cpu} and all packets come from {cpu}")


@SECTION.case("STAT-LOCALITY", _TITLE, server="none", name="of several")
def of_several(subject: Subject) -> None:
    """Let each of two workers have connections whose packets come from its CPU, as is so with ``percpu``."""
    cpus = two_cpus()
    backend = subject.backend([LOOPBACK])
    flags = ["-w", str(len(cpus)), "--listen", "percpu", "-v", "-x", backend.address]
    server = subject.start(flags, cpus=cpus)
    for worker, cpu in enumerate(cpus):
        _relay(subject, server, backend, cpu)
        _expect_share(
            server, worker, _NEARLY_ALL, 1.0, f"as worker {worker} is on CPU {cpu}, where its packets come from"
        )


def _relay(subject: Subject, server: Server, backend: Backend, cpu: int) -> None:
    """Exchange, on a CPU, until enough connections were asked, and wait until that was told."""
    completed_before = _completed(server)
    with processes.staying_on([cpu]):
        for _ in range(_CONNECTIONS):
            _exchange(subject, server, backend)
    due = completed_before + _CONNECTIONS
    if not processes.wait_until(lambda: _completed(server) >= due, COUNTED_WITHIN_S):
        raise TooLate(f"{due} requests in the -v lines, in sum", str(_completed(server)))


def _exchange(subject: Subject, server: Server, backend: Backend) -> None:
    call = subject.call([backend])
    client = subject.connect(server.listen[0])
    client.send(call.request())
    at_backend = call.accept(client)
    at_backend.receive(len(call.request()), "the request at the backend")
    at_backend.send(reply_with_length())
    client.receive_reply("the backend's reply")
    client.close()
    call.close()


def _expect_share(server: Server, worker: int, least: float, most: float, reason: str) -> None:
    for kind in _KINDS:
        local, asked = _told(server, worker, kind)
        if asked < _ASKED:
            raise ContractViolation(f"{_ASKED} or more asked of {_CONNECTIONS} in '{kind} L/S'", f"{asked} in sum")
        if not least <= local / asked <= most:
            share = "nearly all" if least else "nearly none"
            raise ContractViolation(f"{share} in '{kind} L/S', {reason}", f"{local}/{asked} in sum")


def _told(server: Server, worker: int, kind: str) -> tuple[int, int]:
    """Add up how many of a worker are local, and how many were asked."""
    pairs = re.findall(rf"(?m)^worker {worker} .*\b{kind} (\d+)/(\d+) ", "\n".join(server.stderr_lines()))
    return sum(int(local) for local, _ in pairs), sum(int(asked) for _, asked in pairs)


def _completed(server: Server) -> int:
    return sum(int(number) for number in re.findall(r" requests (\d+) ", "\n".join(server.stderr_lines())))
