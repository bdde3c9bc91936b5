"""Workers that die are replaced, and given up when they die again and again."""

import os
import re
import time
from contextlib import suppress
from itertools import pairwise
from signal import SIGKILL

from harness import processes
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, TooLate, shown
from harness.conformance.worker import SETTLE_S, client_of, cpus_of, expect_workers
from harness.servers import REQUEST, Server

SECTION = Section()

_REPLACED_WITHIN_S = 1.0
_TOLD_WITHIN_S = 2.0
_GIVEN_UP_WITHIN_S = 20.0
_FIRST_PAUSE_S, _PAUSES = 0.1, 5
_SHORTEST = 0.9
"""Of a pause: what is measured begins a little after it."""
_MOST_DEATHS = 12
"""Six in a row, and some more where this process was so slow that a worker lived for a second."""
_LOOK_EVERY_S = 0.005


@SECTION.case("PROC-RESPAWN", "a worker that dies is replaced on its CPU within a second", server="none", flags=("-k",))
def respawn(subject: Subject) -> None:
    """Kill one of two, while a client of the other one goes on."""
    server = subject.start(["-w", "2", "--oversubscribe", "-k"])
    first = expect_workers(subject, server, 2)
    victim, other = first
    clients = {pid: client_of(subject, server, pid, first) for pid in first}
    cpus = cpus_of(victim)  # a worker that answers is bound
    os.kill(victim, SIGKILL)
    killed_s = time.monotonic()
    clients[victim].expect_gone("when its worker was killed")

    def replaced() -> bool:
        _exchange(clients[other], "a reply to another worker's client meanwhile")
        new = [pid for pid in server.worker_pids() if pid not in first]
        return len(new) == 1 and cpus_of(new[0]) == cpus

    if not processes.wait_until(replaced, killed_s + _REPLACED_WITHIN_S - time.monotonic()):
        raise TooLate(
            f"another worker on CPU {' '.join(cpus)} within {_REPLACED_WITHIN_S:g} s of a worker's death",
            f"{len(server.worker_pids())} workers, on {[sorted(cpus_of(pid)) for pid in server.worker_pids()]}",
        )
    for pid in expect_workers(subject, server, 2):
        client_of(subject, server, pid, server.worker_pids())
    _exchange(clients[other], "a reply to another worker's client afterwards")
    _expect_told(server, victim)


@SECTION.case("PROC-GIVE-UP", "a worker that dies at once again and again is given up, status 1", server="none")
def give_up(subject: Subject) -> None:
    """Kill each worker as soon as it is there."""
    server = subject.start(["-w", "1"])
    deaths_s = _kill_until_end(server)
    pauses = [later - earlier for earlier, later in pairwise(deaths_s)][-_PAUSES:]
    wanted = [_FIRST_PAUSE_S * 2**number for number in range(_PAUSES)]
    if len(pauses) < _PAUSES or any(pause < _SHORTEST * least for pause, least in zip(pauses, wanted, strict=True)):
        raise ContractViolation(
            f"pauses of {_row(wanted)} s between six deaths in a row, then the end",
            f"an end after {len(deaths_s)} deaths, the last ones {_row(pauses)} s apart",
        )
    status = server.stop(timeout_s=0)
    if status != 1:
        raise ContractViolation("exit status 1 of a server whose worker died again and again", str(status))
    last = server.last_words(1)
    if "error" not in last or "worker" not in last:
        raise ContractViolation("a last line on standard error that says which worker was given up", repr(last))


def _kill_until_end(server: Server) -> list[float]:
    """Kill workers until the server ends; return when each was killed (time.monotonic).

    A pause lies between: who sees a death late takes the pause after it for shorter than it was.
    """
    deaths_s: list[float] = []
    deadline = time.monotonic() + _GIVEN_UP_WITHIN_S
    while not server.wait_ended(_LOOK_EVERY_S):
        for pid in server.worker_pids():
            deaths_s.append(time.monotonic())
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
            processes.wait_ended(pid, SETTLE_S)
        if time.monotonic() > deadline or len(deaths_s) > _MOST_DEATHS:
            raise ContractViolation(
                "a server that gives up when a worker has died six times in a row",
                f"a running one after {len(deaths_s)} deaths",
            )
    if server.process_pids():
        raise ContractViolation("no process left of a server that gave up", str(len(server.process_pids())))
    return deaths_s


def _exchange(client: Connection, what: str) -> None:
    client.send(REQUEST)
    client.receive_reply(what)


def _expect_told(server: Server, pid: int) -> None:
    """See a line that names the process and the signal, on standard error and in the log."""
    wanted = re.compile(rf"\b{pid}\b.*\b(SIGKILL|signal 9)\b")

    def untold() -> list[str]:
        places = {"the log": server.log_text(), "standard error": "\n".join(server.stderr_lines())}
        return [name for name, text in places.items() if not wanted.search(text)]

    if not processes.wait_until(lambda: not untold(), _TOLD_WITHIN_S):
        raise ContractViolation(
            f"a line in the log and on standard error that says that SIGKILL ended process {pid}",
            f"none in {' and '.join(untold())}, where the last line is {shown(server.last_words(1).encode(), 200)}",
        )


def _row(durations_s: list[float]) -> str:
    return " ".join(f"{duration_s:.2f}" for duration_s in durations_s)
