"""Who waits for a worker that dies is served, in each listen mode."""

import os
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGTERM

from harness import processes
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.listen_mode import APART, EXCLUSIVE, TWO, held, listeners, start
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import SETTLE_S, connecting, expect_workers, suspend
from harness.servers import REQUEST, Server

SECTION = Section()

_CLIENTS = 8
_MOST_CLIENTS = 64
"""From all CPUs in turn so many leave no worker out: whose they are is decided for each by a hash, or by its CPU."""
_EARLY_DEATHS = 4
"""After so many in a row the next worker comes after most of a second; after six there is no server any more."""
_ENDS_WITHIN_S = 10.0


@SECTION.case_in_modes("LISTEN-DEAD-WORKER", "who waits for a worker that dies is served", (EXCLUSIVE, *APART))
def dead_worker(subject: Subject, mode: str) -> None:
    """Kill a worker that others wait for; then again and again, and end the server before another has come."""
    server = start(subject, mode, [*TWO, "--grace", "30"])
    if server is None:
        return
    victim, other = expect_workers(subject, server, 2)
    if mode in APART:  # a worker that has just begun may still hold what is the other's
        processes.wait_until(lambda: len(held(server).get(victim, ())) < len(listeners(server)), SETTLE_S)
    suspend(victim)
    suspend(other)
    try:
        clients = _clients(subject, server, lambda: any(one.receive_queue for one in held(server).get(victim, ())))
        os.kill(victim, SIGKILL)
        clients += _clients(subject, server)
    finally:
        os.kill(other, SIGCONT)
    for client in clients:
        client.receive_reply("a reply to who waited when a worker was killed, or came then")
    for _ in range(_EARLY_DEATHS):
        _kill_beside(other, server)
    clients = _clients(subject, server)
    server.send_signal(SIGTERM)
    for client in clients:
        client.receive_reply("a reply to who waited when a worker was dead and SIGTERM came")
    if not server.wait_ended(_ENDS_WITHIN_S):
        raise ContractViolation("an end of the server after the last reply", f"none in {_ENDS_WITHIN_S:g} s")


def _clients(subject: Subject, server: Server, enough: Callable[[], bool] = lambda: True) -> list[Connection]:
    """Connect as often as is enough, send a request on each connection, and see it arrive."""
    clients: list[Connection] = []
    for client in connecting(subject, server):
        client.send(REQUEST)
        clients.append(client)
        if len(clients) >= _CLIENTS and (enough() or len(clients) >= _MOST_CLIENTS):
            break
    for client in clients:
        client.wait_arrived(SETTLE_S)
    return clients


def _kill_beside(spared: int, server: Server) -> None:
    """Kill the worker that comes beside another."""
    come: list[int] = []

    def has_come() -> bool:
        come[:] = [pid for pid in server.worker_pids() if pid != spared]
        return bool(come)

    if not processes.wait_until(has_come, SETTLE_S):
        raise ContractViolation("a worker in the place of the dead one", f"none in {SETTLE_S:g} s")
    for pid in come:
        os.kill(pid, SIGKILL)
        processes.wait_ended(pid, SETTLE_S)
