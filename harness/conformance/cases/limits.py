"""Limits: idle connections end, and what there is no room for waits."""

import resource
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from harness import processes
from harness.conformance.backend import reply_to_the_end, reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.cases.proxy_relay import LARGE
from harness.conformance.connection import PATIENCE_S, Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing
from harness.conformance.worker import busy, expect_workers, highest_descriptor
from harness.servers import REQUEST

SECTION = Section()

_IDLE_S = 1.0
_IDLE = ("--idle-timeout", str(_IDLE_S))
_EARLIEST = 0.8
"""Of the idle time: where it is looked at from time to time, a movement may count from the look before."""
_IDLE_TITLE = "a connection on which nothing moves for --idle-timeout is closed"
_MOST_PIECES = 1500
_MOST, _BEYOND = 3, 3
_FULL = ("-k", "--max-connections", str(_MOST))
_WATCHED_S = 0.7
_MOST_BUSY = 0.2
"""Of a CPU: more is a loop that does not wait."""
_LOOKS = 5
_TURNS = 5
"""Replies that a worker gives in turn: each takes it around its loop, where it does what else there is for it to do."""
_FREE_FILES = 3
_ROOM_WITHIN_S = 5.0


@SECTION.case("LIMIT-IDLE", _IDLE_TITLE, server="own", flags=_IDLE, name="silent", variants=WITH_AND_WITHOUT_KEEPALIVE)
def silent(subject: Subject) -> None:
    """Connect and send nothing."""
    began_s = time.monotonic()
    _expect_end_when_idle(subject.connect(), began_s, "that has sent nothing")


@SECTION.case("LIMIT-IDLE", _IDLE_TITLE, server="own", flags=(*_IDLE, "-k"), name="kept")
def kept(subject: Subject) -> None:
    """Use one connection once, and another one again and again: that stays."""
    used, kept_client = subject.connect(), subject.connect()
    began_s = used_s = time.monotonic()
    _exchange(kept_client)
    while time.monotonic() < began_s + 2 * _IDLE_S:
        before_s, used_s = used_s, time.monotonic()
        with suppress(ContractViolation):  # one that was closed gives no reply
            used.send(REQUEST)
        if time.monotonic() - before_s > _EARLIEST * _IDLE_S:
            used = subject.connect()  # the case itself was too slow with the one before
            used.send(REQUEST)
        used.receive_reply("a reply on a connection that is in use again and again")
        if not kept_client.stays_open(duration_s=_IDLE_S / 10):
            break
    _expect_end_when_idle(kept_client, began_s, "that was used once")
    _expect_end_when_idle(used, used_s, "that was in use until then")


@SECTION.case("LIMIT-IDLE", _IDLE_TITLE, server="own", flags=(*_IDLE, "-k"), name="reply not taken")
def reply_not_taken(subject: Subject) -> None:
    """Send many requests, and read no reply: the connection ends, and what the kernel had taken arrives."""
    client = subject.connect(small_buffers=True)
    for _ in range(_MOST_PIECES):
        client.send(b"x")
        if not client.wait_taken(timeout_s=0.2):
            break
    _expect_closed_by_server(client, "whose replies nobody takes")
    subject.exchange(what="a reply to another client afterwards")


@SECTION.case(
    "LIMIT-IDLE",
    _IDLE_TITLE,
    server="own",
    flags=_IDLE,
    backends=("live",),
    name="proxy",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def idle_at_the_proxy(subject: Subject) -> None:
    """One client is silent; the reply to another takes longer than the idle time; with -k that one is kept then."""
    began_s = time.monotonic()
    silent_client = subject.connect()
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    _expect_end_when_idle(silent_client, began_s, "that has sent nothing to a proxy")
    if not client.stays_open(duration_s=_IDLE_S / 2):
        raise ContractViolation("an open connection while the backend owes a reply, within --reply-timeout", "its end")
    began_s = time.monotonic()
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "a reply that took longer than the idle time")
    if subject.keepalive:
        _expect_end_when_idle(client, began_s, "that was kept by a proxy")
        backend.expect_gone("when its client was idle too long")
    else:
        client.expect_end("after the reply")


@SECTION.case(
    "LIMIT-IDLE",
    _IDLE_TITLE,
    server="own",
    flags=_IDLE,
    backends=("live",),
    name="proxy, reply not taken",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def reply_not_taken_from_the_proxy(subject: Subject) -> None:
    """Send a large reply to a client that does not read it; its backend's connection ends as well."""
    client, call = subject.connect(small_buffers=True), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.send_what_fits(reply_to_the_end(LARGE), patience_s=0.2)
    _expect_closed_by_server(client, "that does not take its reply")
    backend.expect_gone("when its client has not taken its reply for too long")


@SECTION.case(
    "LIMIT-CONNECTIONS",
    "with --max-connections a worker accepts no more until there is room",
    server="own",
    flags=_FULL,
)
def connections(subject: Subject) -> None:
    """Fill a worker, let others wait, and make room one by one."""
    held = [subject.connect() for _ in range(_MOST)]
    for client in held:
        _exchange(client)
    _expect_room_for(subject, held, [subject.connect() for _ in range(_BEYOND)])


@SECTION.case(
    "LIMIT-CONNECTIONS",
    "with --max-connections a worker accepts no more until there is room",
    server="own",
    flags=("--max-connections", "1"),
    backends=("live",),
    name="proxy",
)
def connections_at_the_proxy(subject: Subject) -> None:
    """Let one client's backend owe its reply, while another client waits."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    later, later_call = subject.connect(), subject.call()
    later.send(later_call.request())
    _expect_quiet(subject, [later])
    [live] = subject.live_backends
    if live.connections != 1:
        raise ContractViolation("one backend connection with --max-connections 1", str(live.connections))
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "the reply to the first client")
    later_call.accept(later).send(reply_with_length())
    later.expect(reply_with_length(), "the reply to a client that had to wait")


@SECTION.case(
    "LIMIT-FILES", "with no file left to open a worker accepts no more until there is room", server="own", flags=("-k",)
)
def files(subject: Subject) -> None:
    """Lower the limit of the running worker, so that there is room for a few connections only."""
    [worker] = expect_workers(subject, subject.server, 1)
    held = [subject.connect()]
    _exchange(held[0])
    try:
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        limit = highest_descriptor(worker) + 1 + _FREE_FILES
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, hard))
    except PermissionError as error:
        raise RequirementMissing(f"this process may not set the limits of another ({error.strerror})") from None
    clients = [subject.connect() for _ in range(4 * _FREE_FILES)]
    for client in clients:
        client.send(REQUEST)
    held += _answered(clients, held[0], worker)
    for client in held[1:]:
        client.receive_reply()
    waiting = [client for client in clients if client not in held]
    if not waiting:
        raise ContractViolation(f"no room for {len(clients)} connections with {limit} open files", "replies on all")
    _expect_room_for(subject, held, waiting, sent=True)


def _answered(clients: Sequence[Connection], one_held: Connection, worker: int) -> list[Connection]:
    """Wait until no further client gets a reply while one that is held does, as there is no more room.

    Returns those that have got one.
    """
    processes.wait_until(lambda: any(client.unread() for client in clients), _ROOM_WITHIN_S)
    answered: list[Connection] = []
    while len(now := [client for client in clients if client.unread()]) > len(answered):
        answered = now
        busy(worker, _WATCHED_S)
        _see_it_go_on(one_held)
    return answered


def _expect_room_for(
    subject: Subject, held: list[Connection], waiting: list[Connection], *, sent: bool = False
) -> None:
    """See that some wait while others are held, and that each is served when there is room."""
    for client in () if sent else waiting:
        client.send(REQUEST)
    _expect_quiet(subject, waiting)
    for client in held:
        _see_it_go_on(client)
    _refuse_answered(waiting)  # a worker that had no CPU for a while was quiet for that
    while waiting:
        held.pop(0).close()
        if not processes.wait_until(lambda: any(client.unread() for client in waiting), _ROOM_WITHIN_S):
            _refuse_ended(waiting)
            raise ContractViolation(
                "a reply to a client that waits, when there is room", f"none in {_ROOM_WITHIN_S:g} s"
            )
        served = next(client for client in waiting if client.unread())
        served.receive_reply("a reply to a client that had to wait")
        waiting.remove(served)
        held.append(served)
    for client in held:
        _exchange(client, "a second reply when all have been served")


def _expect_quiet(subject: Subject, waiting: Sequence[Connection]) -> None:
    """See that nothing comes to those who wait, and that the worker is not busy with them."""
    workers = subject.server.worker_pids()
    if len(workers) != 1:
        raise ContractViolation("a worker that waits while there is no room", f"{len(workers)} worker processes")
    seen = []
    for _ in range(_LOOKS):
        part, state = busy(workers[0], _WATCHED_S), processes.state(workers[0])
        seen.append(f"{part:.0%} and {state}")
        _refuse_ended(waiting)
        _refuse_answered(waiting)
        # A loop that does not wait is busy in each look, and where it gets no CPU it does not sleep either. Another
        # worker may seem busy in one: where the whole machine stands still the kernel may count that, too.
        if part <= _MOST_BUSY and state == psutil.STATUS_SLEEPING:
            return
    raise ContractViolation(
        f"a worker that waits while there is no room, asleep and busy for {_MOST_BUSY:.0%} of the time at most",
        f"in {_LOOKS} looks one that is {', '.join(seen)}",
    )


def _refuse_answered(waiting: Sequence[Connection]) -> None:
    if any(client.unread() for client in waiting):
        raise ContractViolation("clients that wait while there is no room", "a reply to one of them")


def _refuse_ended(waiting: Sequence[Connection]) -> None:
    for client in waiting:
        if not client.unread() and (seen := client.unexpected()):
            raise ContractViolation("a client that waits for room", seen)


def _see_it_go_on(client: Connection) -> None:
    for _ in range(_TURNS):
        _exchange(client, "a reply on a connection that is held while others wait")


def _exchange(client: Connection, what: str = "a reply") -> None:
    client.send(REQUEST)
    client.receive_reply(what)


def _expect_end_when_idle(client: Connection, since_s: float, which: str) -> None:
    """See a connection closed that has carried nothing since a point in time (time.monotonic), or a little later."""
    client.expect_gone(f"{which}, after {_IDLE_S:g} s", _IDLE_S + PATIENCE_S)
    lasted_s = time.monotonic() - since_s
    if lasted_s < _EARLIEST * _IDLE_S:
        raise ContractViolation(f"a connection {which} for {_IDLE_S:g} s", f"its end after {lasted_s:.2f} s")


def _expect_closed_by_server(client: Connection, which: str) -> None:
    """See the other end let go of a connection that nobody reads, as the kernel's table tells."""
    if not processes.wait_until(client.is_left, _IDLE_S + PATIENCE_S):
        raise ContractViolation(f"the end of a connection {which}", f"an open one after {_IDLE_S + PATIENCE_S:g} s")
