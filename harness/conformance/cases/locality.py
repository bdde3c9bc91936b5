"""The share of connections whose packets arrive on the worker's own CPU."""

import os
import re
from pathlib import Path

from harness import processes
from harness.conformance.backend import Backend, reply_with_length
from harness.conformance.case import Section
from harness.conformance.counted import COUNTED_WITHIN_S
from harness.conformance.setting import LOOPBACK
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing, TooLate
from harness.servers import Server

SECTION = Section()

_KINDS = ("local_accepts", "local_backends")
_STEERING = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")
_CONNECTIONS, _MOST_CONNECTIONS = 100, 600
"""At a time, and in all until enough were asked."""
_ASKED = 5
_NEARLY_NONE, _NEARLY_ALL = 0.25, 0.75
"""What a worker that is late meets now and then is a packet that the kernel has sent again, from another CPU."""


@SECTION.case(
    "STAT-LOCALITY", "the -v lines tell of how many connections the packets arrive on the worker's CPU", server="none"
)
def locality(subject: Subject) -> None:
    """Let client and backend be on the worker's CPU, then on another: on loopback packets arrive where they left."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        raise RequirementMissing("it takes two CPUs, and this process may use one")
    if _STEERING.exists() and re.search("[1-9a-f]", _STEERING.read_text()):
        raise RequirementMissing(f"{_STEERING} has packets arrive on other CPUs than they left")
    worker_cpu, other_cpu, *_ = allowed
    for cpu, least, most in ((worker_cpu, _NEARLY_ALL, 1.0), (other_cpu, 0.0, _NEARLY_NONE)):
        backend = subject.backend([LOOPBACK])
        server = subject.start(["-w", "1", "-c", str(worker_cpu), "-v", "-x", backend.address])
        _relay(subject, server, backend, cpu)
        for kind in _KINDS:
            local, asked = _told(server, kind)
            if not least <= local / asked <= most:
                share = "nearly all" if least else "nearly none"
                raise ContractViolation(
                    f"{share} in '{kind} L/S', as the worker is on CPU {worker_cpu} and all packets come from {cpu}",
                    f"{local}/{asked} in sum",
                )


def _relay(subject: Subject, server: Server, backend: Backend, cpu: int) -> None:
    """Exchange, on a CPU, until enough connections were asked."""
    sent = 0
    while min(_told(server, kind)[1] for kind in _KINDS) < _ASKED:
        if sent == _MOST_CONNECTIONS:
            told = " and ".join("{} {}/{}".format(kind, *_told(server, kind)) for kind in _KINDS)
            raise ContractViolation(f"local_accepts and local_backends of {_ASKED} or more", f"{told} for {sent}")
        with processes.staying_on([cpu]):
            for _ in range(_CONNECTIONS):
                _exchange(subject, server, backend)
        sent += _CONNECTIONS
        if not processes.wait_until(lambda: _accepted(server) >= sent, COUNTED_WITHIN_S):  # noqa: B023  asked at once
            raise TooLate(f"{sent} accepted in the -v lines, in sum", str(_accepted(server)))


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


def _told(server: Server, kind: str) -> tuple[int, int]:
    """Add up how many are local, and how many were asked."""
    pairs = re.findall(rf"\b{kind} (\d+)/(\d+) ", "\n".join(server.stderr_lines()))
    return sum(int(local) for local, _ in pairs), sum(int(asked) for _, asked in pairs)


def _accepted(server: Server) -> int:
    return sum(int(number) for number in re.findall(r" accepted (\d+) ", "\n".join(server.stderr_lines())))
