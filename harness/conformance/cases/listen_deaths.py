"""Who waits for a worker that dies is served, in each listen mode.

While its parent is stopped a dead worker is not replaced, so what comes then comes while it is dead.
"""

import os
from collections.abc import Callable, Collection
from signal import SIGKILL, SIGTERM

from harness import processes
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.listen_mode import APART, TWO, held, listeners, start
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import SETTLE_S, connecting, expect_workers, suspended, wait_signal_taken
from harness.servers import REQUEST, Server
from harness.variants import LISTEN_MODES

SECTION = Section()

_CLIENTS = 8
_MOST_CLIENTS = 64
"""From all CPUs in turn so many leave no worker out: whose they are is decided for each by a hash, or by its CPU."""
_ENDS_WITHIN_S = 10.0


@SECTION.case_in_modes("LISTEN-DEAD-WORKER", "who waits for a worker that dies is served", LISTEN_MODES)
def dead_worker(subject: Subject, mode: str) -> None:
    """Kill a worker that others wait for while the server runs, and another when it is told to end."""
    server = start(subject, mode, [*TWO, "--grace", "30"])
    if server is None:
        return
    _die_while_it_runs(subject, server, mode)
    _die_at_the_end(subject, server, mode)
    if not server.wait_ended(_ENDS_WITHIN_S):
        raise ContractViolation("an end of the server after the last reply", f"none in {_ENDS_WITHIN_S:g} s")


def _die_while_it_runs(subject: Subject, server: Server, mode: str) -> None:
    (victim, queue), (other, _) = _queues(subject, server, mode).items()
    with suspended(other), suspended(server.pid), suspended(victim):
        waiting = _clients(subject, server, lambda: _length(server, queue) > 0)
        _kill(victim)
        waited = _length(server, queue)
        coming = _clients(subject, server, lambda: _length(server, queue) > waited)
    _expect_replies(waiting, "who waited when a worker was killed")
    _expect_replies(coming, "who came while a worker was dead")


def _die_at_the_end(subject: Subject, server: Server, mode: str) -> None:
    """Kill a worker before its parent learns of SIGTERM, and where the other has a queue of its own, that one after."""
    (victim, queue), (other, others_queue) = _queues(subject, server, mode).items()
    with suspended(other):
        with suspended(server.pid), suspended(victim):
            waiting = _clients(subject, server, lambda: _length(server, queue) > 0 < _length(server, others_queue))
            _kill(victim)
            server.send_signal(SIGTERM)
        if mode in APART:
            if not wait_signal_taken(server.pid, SIGTERM, SETTLE_S):
                raise ContractViolation("a server that takes note of SIGTERM", f"none in {SETTLE_S:g} s")
            _kill(other)
    _expect_replies(waiting, "who waited for a worker that was killed before SIGTERM or after it")


def _queues(subject: Subject, server: Server, mode: str) -> dict[int, set[int]]:
    """Tell for each of two workers which listeners of the first address it holds, by process id and inode."""
    expect_workers(subject, server, 2)
    found: dict[int, set[int]] = {}

    def is_divided() -> bool:
        found.clear()
        found.update(
            (pid, {listener.inode for listener in of_one}) for pid, of_one in held(server, server.listen[0]).items()
        )
        return len(found) == 2 and (mode not in APART or not set.intersection(*found.values()))  # noqa: PLR2004  workers

    # A worker that has just begun may still hold what is the other's.
    if not processes.wait_until(is_divided, SETTLE_S):
        raise ContractViolation("two workers, with reuseport and percpu each with a queue of its own", f"{found}")
    return found


def _length(server: Server, queue: Collection[int]) -> int:
    """Count those who wait in some listeners' queues on the first address."""
    return sum(listener.receive_queue for listener in listeners(server.listen[0]) if listener.inode in queue)


def _clients(subject: Subject, server: Server, enough: Callable[[], bool]) -> list[Connection]:
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


def _kill(pid: int) -> None:
    os.kill(pid, SIGKILL)
    processes.wait_ended(pid, SETTLE_S)


def _expect_replies(clients: Collection[Connection], who: str) -> None:
    for client in clients:
        client.receive_reply(f"a reply to {who}")
