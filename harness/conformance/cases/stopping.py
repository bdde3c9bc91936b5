"""How a server ends: by signals, when its parent is killed, and that it can start again at once."""

import os
import signal
import time

from harness import processes
from harness.conformance.case import Section
from harness.conformance.counted import seconds
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, TooLate
from harness.servers import REQUEST, Server

SECTION = Section()

_WITHIN_S = 2.0
_IDLE_CONNECTIONS = 3
_UNSENT_BYTES = 4096
_MOST_MESSAGES = 1500
_STOPPED_S, _CONTINUES_S = 1.3, 0.3
_GOES_ON_WITHIN_S = 5.0
_LINES = 2
"""Of which the first may have been due when the parent was stopped, and the second comes a second later."""


@SECTION.case("PROC-SIGTERM", "SIGTERM ends all processes within two seconds, status 0", server="own")
def sigterm(subject: Subject) -> None:
    """Stop a server that has served."""
    subject.exchange()
    _expect_end(subject.server, signal.SIGTERM)


@SECTION.case("PROC-SIGINT", "SIGINT ends all processes within two seconds, status 0", server="own")
def sigint(subject: Subject) -> None:
    """Interrupt a server that has served."""
    subject.exchange()
    _expect_end(subject.server, signal.SIGINT)


@SECTION.case("PROC-SIGNAL-BUSY", "open connections delay no signal", server="own", flags=("-k",))
def sigterm_while_connected(subject: Subject) -> None:
    """Hold connections that were never used, and one with a reply unread."""
    for _ in range(_IDLE_CONNECTIONS):
        subject.connect()
    used = subject.connect()
    used.send(REQUEST)
    used.receive_reply()
    used.send(REQUEST)
    _expect_end(subject.server, signal.SIGTERM)


@SECTION.case("PROC-SIGNAL-BUSY", "open connections delay no signal", server="own", backends=("live",), name="proxy")
def sigint_within_exchange(subject: Subject) -> None:
    """Stop a proxy whose backend owes a reply."""
    for _ in range(_IDLE_CONNECTIONS):
        subject.connect()
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    call.accept(client)
    _expect_end(subject.server, signal.SIGINT)


@SECTION.case("PROC-STOP-CONT", "SIGSTOP and SIGCONT to the parent end nothing", server="own")
def stop_and_continue(subject: Subject) -> None:
    """Stop the parent for longer than the second after which it prints.

    That it goes on shows in what it prints then: on a busy machine this may take a while.
    """
    server = subject.server
    server.send_signal(signal.SIGSTOP)
    ended = server.wait_ended(_STOPPED_S)
    before = seconds(server)
    server.send_signal(signal.SIGCONT)
    processes.wait_until(lambda: server.wait_ended(0) or seconds(server) >= before + _LINES, _GOES_ON_WITHIN_S)
    if ended or server.wait_ended(_CONTINUES_S):
        raise ContractViolation("a running server after SIGSTOP and SIGCONT", f"its end, status {server.stop()}")
    subject.exchange()


@SECTION.case("PROC-ORPHAN", "when the parent is killed the workers end too", server="own")
def orphan(subject: Subject) -> None:
    """SIGKILL leaves the parent no chance to tell its workers."""
    server = subject.server
    subject.exchange()
    workers = server.worker_pids()
    if not workers:
        raise ContractViolation("a worker process", f"no child of process {server.pid}")
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + _WITHIN_S
    alive = [pid for pid in workers if not processes.wait_ended(pid, max(0.0, deadline - time.monotonic()))]
    if alive:
        raise TooLate(f"no worker {_WITHIN_S:g} s after its parent was killed", f"{len(alive)} of {len(workers)}")


@SECTION.case("PROC-RESTART", "the addresses can be listened on again at once", server="none")
def restart(subject: Subject) -> None:
    """Leave a connection with replies that its client does not take, so that the kernel keeps it beyond the server.

    One in TIME_WAIT would do, but after heavy load the kernel may have no room for it (tcp(7), tcp_max_tw_buckets).
    """
    address = subject.reserve()
    first = subject.start(["-w", "1", "-k"], [address])
    client = subject.connect(address, small_buffers=True)
    for _ in range(_MOST_MESSAGES):
        if client.on_the_way() - client.unread() > _UNSENT_BYTES:
            break
        client.send(b"x")
        client.wait_taken(_WITHIN_S)
    first.stop()
    subject.start(["-w", "1"], [address])
    subject.exchange(address, what="a reply after the restart")


def _expect_end(server: Server, number: signal.Signals) -> None:
    began_s = time.monotonic()
    server.send_signal(number)
    ended = server.wait_ended(_WITHIN_S)
    left_s = began_s + _WITHIN_S - time.monotonic()
    all_ended = ended and processes.wait_until(lambda: not server.process_pids(), left_s)
    left = server.process_pids()
    status = server.stop(timeout_s=0)
    if not all_ended:
        who = f"{len(left)} running, the parent {'not ' if ended else ''}among them"
        raise TooLate(f"no process {_WITHIN_S:g} s after {number.name}", who)
    if status != 0:
        raise ContractViolation(f"exit status 0 after {number.name}", str(status))
