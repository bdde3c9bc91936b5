"""After a signal to end, what is under way is finished, for as long as the grace lasts."""

import os
import signal
import time

from harness import ports, processes
from harness.conformance import sock_diag
from harness.conformance.backend import reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.connection import PATIENCE_S
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, TooLate
from harness.conformance.worker import expect_workers
from harness.servers import REQUEST, Server

SECTION = Section()

_LONG = ("--grace", "20")
_TITLE = "what is under way may finish within the grace"
_AT_ONCE_S = 2.0
"""How soon a server has to end that has nothing more to wait for; on a busy machine, too."""
_SHORT_S = 0.5
_MEANWHILE_S = 0.3


@SECTION.case(
    "PROC-GRACE",
    _TITLE,
    server="own",
    backends=("live",),
    flags=_LONG,
    name="exchange",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def finishes_an_exchange(subject: Subject) -> None:
    """Let the backend answer when the listener is closed already; then nothing more is waited for."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    _stop(subject.server)
    reply = reply_with_length()
    backend.send(reply[:20])
    client.expect(reply[:20], "the first part of a reply after SIGTERM")
    backend.send(reply[20:])
    client.expect(reply[20:], "the rest of a reply after SIGTERM")
    client.expect_end("after the reply to what was under way")
    _expect_end(subject.server, _AT_ONCE_S, "after what was under way has finished")


@SECTION.case("PROC-GRACE", _TITLE, server="own", flags=_LONG, name="accepted", variants=WITH_AND_WITHOUT_KEEPALIVE)
def answers_those_who_came_before(subject: Subject) -> None:
    """One was accepted and has sent nothing; others wait to be accepted when the signal comes."""
    server = subject.server
    [worker] = expect_workers(subject, server, 1)
    silent = subject.connect()
    if not silent.wait_accepted(PATIENCE_S):  # with --lean that takes a second
        raise ContractViolation("a silent client to be accepted", f"none after {PATIENCE_S:g} s")
    os.kill(worker, signal.SIGSTOP)
    try:
        waiting = [subject.connect() for _ in range(3)]
        for client in waiting:
            client.send(REQUEST)
        server.send_signal(signal.SIGTERM)
    finally:
        os.kill(worker, signal.SIGCONT)
    for client in waiting:
        client.receive_reply("a reply to a client that waited to be accepted when SIGTERM came")
        client.expect_end("after that reply")
    _expect_not_listening(server)
    silent.send(REQUEST)
    silent.receive_reply("a reply to a client that was accepted before SIGTERM, and sent its request after it")
    silent.expect_end("after that reply")
    _expect_end(server, _AT_ONCE_S, "after the last reply")


@SECTION.case("PROC-GRACE", _TITLE, server="own", flags=(*_LONG, "-k"), name="kept")
def kept_connections_end_at_once(subject: Subject) -> None:
    """Leave connections between requests, which are not under way."""
    clients = [subject.connect() for _ in range(3)]
    for client in clients:
        client.send(REQUEST)
        client.receive_reply()
    subject.server.send_signal(signal.SIGTERM)
    for client in clients:
        client.expect_end("after SIGTERM, as it is between requests")
    _expect_end(subject.server, _AT_ONCE_S, "after SIGTERM with no exchange under way")


@SECTION.case(
    "PROC-GRACE", _TITLE, server="own", backends=("live",), flags=("--grace", str(_SHORT_S)), name="what takes longer"
)
def ends_what_takes_longer(subject: Subject) -> None:
    """Let the backend owe its reply for ever."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    call.accept(client)
    began_s = time.monotonic()
    subject.server.send_signal(signal.SIGTERM)
    client.expect_gone("when the grace was over")
    lasted_s = time.monotonic() - began_s
    if lasted_s < 0.9 * _SHORT_S:
        raise ContractViolation(f"an exchange that may go on for {_SHORT_S:g} s", f"its end after {lasted_s:.2f} s")
    _expect_end(subject.server, _AT_ONCE_S, "after the grace was over")


@SECTION.case(
    "PROC-SIGINT-TWICE",
    "SIGINT while the grace lasts ends all processes at once",
    server="own",
    backends=("live",),
    flags=_LONG,
)
def interrupted_twice(subject: Subject) -> None:
    """Interrupt while an exchange is under way: it goes on; and once more: it does not."""
    server = subject.server
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    _stop(server, signal.SIGINT)
    part = reply_with_length()[:20]
    backend.send(part)
    client.expect(part, "a part of a reply after SIGINT")
    if server.wait_ended(_MEANWHILE_S):
        raise ContractViolation("a server that finishes what is under way after SIGINT", "its end")
    server.send_signal(signal.SIGINT)
    _expect_end(server, _AT_ONCE_S, "after SIGINT came twice")
    client.expect_gone("when SIGINT came twice")


def _stop(server: Server, number: signal.Signals = signal.SIGTERM) -> None:
    server.send_signal(number)
    _expect_not_listening(server)


def _expect_not_listening(server: Server) -> None:
    """See the listener gone; a connection made to find that out might be one that is served."""
    address = ports.split(server.listen[0])

    def gone() -> bool:
        found = sock_diag.find_listener(address)
        return found is None or found.state != sock_diag.LISTEN

    if not processes.wait_until(gone, PATIENCE_S):
        raise ContractViolation("no listener after the signal to end", f"one still after {PATIENCE_S:g} s")


def _expect_end(server: Server, within_s: float, when: str) -> None:
    ended = server.wait_ended(within_s) and processes.wait_until(lambda: not server.process_pids(), within_s)
    left = len(server.process_pids())
    status = server.stop(timeout_s=0)
    if not ended:
        raise TooLate(f"no process {within_s:g} s {when}", f"{left} running")
    if status != 0:
        raise ContractViolation(f"exit status 0 {when}", str(status))
