"""The lines that are printed every second."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGKILL

from harness import processes
from harness.conformance.case import Section
from harness.conformance.counted import COUNTED_WITHIN_S, TOTAL, expect_counted
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import expect_workers
from harness.servers import REQUEST

SECTION = Section()

_TOTAL = re.compile(rf"{TOTAL}(\d+)")
_WORKER = re.compile(
    r"worker (\d+) cpu (\d+) requests (\d+) accepted (\d+) "
    r"events/poll (?:-/-/-|\d+/\d+(?:\.\d+)?/\d+) empty_polls \d+ "
    r"local_accepts \d+/\d+ local_backends \d+/\d+ errors(?: \w+=\d+)+"
)
_TOLERANCE = 0.1
"""A second is a little longer on a busy machine, which makes the figure per second smaller."""
_REQUESTS = 100
_FAULTS = 3


@SECTION.case("STAT-TOTAL", "every second 'Request/s N', in sum the requests answered", server="own")
def total(subject: Subject) -> None:
    """Add up the lines after a known number of requests."""
    sent = _load(subject)

    def counted() -> int:
        return sum(int(match[1]) for match in map(_TOTAL.fullmatch, subject.server.stderr_lines()) if match)

    near = _TOLERANCE * sent
    processes.wait_until(lambda: counted() >= sent - near, COUNTED_WITHIN_S)
    if not sent - near <= counted() <= sent + near:
        raise ContractViolation(f"'Request/s N' lines that add up to {sent}", f"{counted()} in {_last_lines(subject)}")


@dataclass(frozen=True, slots=True)
class _Second:
    """What the lines of one second say."""

    workers: tuple[int, ...]
    requests: int
    accepted: int


@SECTION.case(
    "STAT-VERBOSE",
    "with -v a line for each worker precedes the total",
    server="own",
    flags=("-v", "--oversubscribe"),
    workers=2,
)
def verbose(subject: Subject) -> None:
    """Two lines of workers before each total, whose requests and connections add up to what was sent."""
    sent = _load(subject)

    def all_told() -> bool:
        told = list(_seconds(subject))
        return sum(second.requests for second in told) >= sent and sum(second.accepted for second in told) >= sent

    processes.wait_until(all_told, COUNTED_WITHIN_S)
    seconds = list(_seconds(subject))
    if not seconds:
        raise ContractViolation("lines 'worker I cpu C requests N …' and 'Request/s N'", _last_lines(subject))
    for second in seconds:
        if second.workers != (0, 1):
            raise ContractViolation(
                "a line for each of the workers 0 and 1 before every 'Request/s N'",
                f"lines for {', '.join(map(str, second.workers)) or 'none'} in {_last_lines(subject)}",
            )
    requests, accepted = sum(s.requests for s in seconds), sum(s.accepted for s in seconds)
    if (requests, accepted) != (sent, sent):
        raise ContractViolation(
            f"{sent} requests and {sent} accepted in all", f"{requests} requests and {accepted} accepted"
        )


_FAULTS_TITLE = "the -v lines count what went wrong, each under its name"


@SECTION.case("STAT-FAULTS", _FAULTS_TITLE, server="own", flags=("-v", "--idle-timeout", "0.5"), name="idle")
def idle(subject: Subject) -> None:
    """Let some connections be idle for too long."""
    clients = [subject.connect() for _ in range(_FAULTS)]
    for client in clients:
        client.expect_gone("when it was idle too long")
    expect_counted(subject.server, "idle", least=_FAULTS, most=_FAULTS)


@SECTION.case("STAT-FAULTS", _FAULTS_TITLE, server="own", flags=("-v", "-k", "--max-connections", "1"), name="full")
def full(subject: Subject) -> None:
    """Let a client wait for room, twice."""
    clients = [subject.connect() for _ in range(_FAULTS)]
    for client in clients:
        client.send(REQUEST)
    for client in clients:
        client.receive_reply("a reply in turn, with --max-connections 1")
        client.close()
    expect_counted(subject.server, "full", most=_FAULTS)


@SECTION.case("STAT-FAULTS", _FAULTS_TITLE, server="own", flags=("-v",), name="restarts")
def restarts(subject: Subject) -> None:
    """Kill a worker."""
    [worker] = expect_workers(subject, subject.server, 1)
    os.kill(worker, SIGKILL)
    expect_counted(subject.server, "restarts", least=1, most=1)


@SECTION.case(
    "STAT-FAULTS",
    _FAULTS_TITLE,
    server="own",
    flags=("-v", "--backend-rest", "60"),
    backends=("dead", "dead"),
    name="backends",
)
def backends(subject: Subject) -> None:
    """Let the first client find out that all backends refuse; the others need not try."""
    for _ in range(1 + _FAULTS):
        client = subject.connect()
        client.send(REQUEST)
        client.receive_reply("a 502")
    for kind, number in (("backend_refused", 2), ("backend_out", 2), ("no_backend", _FAULTS)):
        expect_counted(subject.server, kind, least=number, most=number)


def _load(subject: Subject) -> int:
    """Send requests, each on a connection of its own; return how many."""
    for _ in range(_REQUESTS):
        subject.exchange()
    return _REQUESTS


def _seconds(subject: Subject) -> Iterator[_Second]:
    """Read the lines second by second; each ends with a total."""
    workers: list[int] = []
    requests = accepted = 0
    for line in subject.server.stderr_lines():
        if match := _WORKER.fullmatch(line):
            workers.append(int(match[1]))
            requests += int(match[3])
            accepted += int(match[4])
        elif _TOTAL.fullmatch(line):
            yield _Second(tuple(workers), requests, accepted)
            workers, requests, accepted = [], 0, 0


def _last_lines(subject: Subject) -> str:
    last = subject.server.stderr_lines()[-3:]
    return f"'{' | '.join(last)}'" if last else "no line on standard error"
