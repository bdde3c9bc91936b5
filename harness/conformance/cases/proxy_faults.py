"""Proxy mode: what came before a side fell silent, broke off or was slow reaches the other one."""

import threading
from contextlib import ExitStack
from functools import partial

from harness import processes
from harness.conformance.backend import reply_to_the_end, reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.cases.proxy_relay import LARGE, LARGE_TIMEOUT_S, sending, serve
from harness.conformance.connection import PATIENCE_S, Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import resident_bytes

SECTION = Section()

_FULL_AFTER_S = 0.2
"""How long nothing more is taken of a request that nobody reads: buffers on the way are full then."""
_HEAD_BYTES = 64
_SLOW = 4
_MOST_BYTES = 1_000_000
"""Of a worker's resident memory, for a connection."""
_BODY = LARGE[:100_000]
"""More than one read of any proxy's, and less than what the client's buffers hold."""


@SECTION.case(
    "PROXY-EARLY-REPLY",
    "a reply that comes before the request is complete arrives whole",
    backends=("live",),
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def early_reply(subject: Subject) -> None:
    """Answer when a part of the request has come: by a backend that stays, by one that ends, and by one that resets."""
    for what_follows in ("stays open", "ends", "resets"):
        reply = reply_to_the_end(_BODY) if what_follows == "ends" else reply_with_length(_BODY)
        client, call = subject.connect(), subject.call()
        request = call.request(LARGE)
        client.send_what_fits(request, _FULL_AFTER_S)
        backend = call.accept(client)
        backend.expect(request[:_HEAD_BYTES], "the beginning of the request")
        backend.send(reply)
        if not backend.wait_taken(PATIENCE_S):
            raise ContractViolation("a reply to half a request to be read", f"bytes unread after {PATIENCE_S:g} s")
        if what_follows == "ends":
            backend.end()
        elif what_follows == "resets":
            backend.reset()
        client.expect(reply, f"a reply to half a request, of a backend that {what_follows}")
        if what_follows == "resets":
            client.expect_gone("when the backend has reset")  # with -k the rest may count as a request without a reply
        elif what_follows == "ends" or not subject.keepalive:
            client.expect_end(f"after the reply of a backend that {what_follows}")
    serve(subject, subject.connect())


@SECTION.case(
    "PROXY-BROKEN-REPLY",
    "what came before a backend stopped half-way arrives, then the end",
    backends=("live",),
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def broken_reply(subject: Subject) -> None:
    """Half a reply and an end, then half a reply and a reset; with a length, and without one."""
    for how in ("ends", "resets"):
        for reply, kind in ((reply_with_length(LARGE), "with"), (reply_to_the_end(LARGE), "without")):
            half = reply[: len(reply) // 20]
            client, call = subject.connect(), subject.call()
            client.send(call.request())
            backend = call.accept(client)
            backend.receive(len(call.request()), "the request at the backend")
            backend.send(half)
            if how == "ends":
                backend.end()
            else:
                backend.wait_taken(PATIENCE_S)
                backend.reset()
            what = f"half a reply {kind} Content-Length, of a backend that {how} then"
            client.expect(half, what)
            client.expect_end(f"after {what}")
    serve(subject, subject.connect())


@SECTION.case(
    "PROXY-SLOW-READER",
    "a slow reader costs the worker less than 1 MB of memory",
    backends=("live",),
    server="own",
    name="client",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def slow_client(subject: Subject) -> None:
    """Send large replies to clients that read nothing; then they read all of it."""
    serve(subject, subject.connect())
    before = _memory(subject)
    reply = reply_with_length(LARGE)
    pairs: list[tuple[Connection, Connection]] = []
    senders: list[threading.Thread] = []
    for _ in range(_SLOW):
        client, call = subject.connect(small_buffers=True), subject.call()
        client.send(call.request())
        pairs.append((client, call.accept(client)))
    with ExitStack() as stack:
        for client, backend in pairs:
            senders.append(stack.enter_context(sending(backend, reply)))
            processes.wait_until(partial(_has_begun, client), PATIENCE_S)
        for (_, backend), sender in zip(pairs, senders, strict=True):
            backend.wait_at_rest(sender.is_alive)
        _expect_little(subject, before, "clients that do not read their replies")
        serve(subject, subject.connect())
        for client, _ in pairs:
            client.expect(reply, "a reply to a client that reads late", LARGE_TIMEOUT_S)


@SECTION.case(
    "PROXY-SLOW-READER",
    "a slow reader costs the worker less than 1 MB of memory",
    backends=("live",),
    server="own",
    name="backend",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def slow_backend(subject: Subject) -> None:
    """Send large requests to a backend that reads no more than a word; then it reads all of it."""
    serve(subject, subject.connect())
    before = _memory(subject)
    with ExitStack() as stack:
        exchanges: list[tuple[bytes, Connection, Connection]] = []
        senders: list[threading.Thread] = []
        for _ in range(_SLOW):
            client, call = subject.connect(), subject.call()
            request = call.request(LARGE)
            senders.append(stack.enter_context(sending(client, request)))
            exchanges.append((request, client, call.accept(client)))
        for (_, client, _), sender in zip(exchanges, senders, strict=True):
            client.wait_at_rest(sender.is_alive)
        _expect_little(subject, before, "backends that do not read their requests")
        serve(subject, subject.connect())
        for request, client, backend in exchanges:
            backend.expect(request, "a request to a backend that reads late", LARGE_TIMEOUT_S)
            backend.send(reply_with_length())
            client.expect(reply_with_length(), "the reply of a backend that read late")


def _has_begun(client: Connection) -> bool:
    return client.unread() > 0


def _memory(subject: Subject) -> int:
    [worker] = _workers(subject, 1)
    return resident_bytes(worker)


def _workers(subject: Subject, count: int) -> list[int]:
    """See that many workers of a proxy that has served already."""
    pids = subject.server.worker_pids()
    if len(pids) != count:
        raise ContractViolation(f"{count} worker processes", f"{len(pids)} children of process {subject.server.pid}")
    return pids


def _expect_little(subject: Subject, before: int, who: str) -> None:
    grown = _memory(subject) - before
    if grown > _SLOW * _MOST_BYTES:
        raise ContractViolation(
            f"less than {_MOST_BYTES / 1e6:g} MB of memory for each of {_SLOW} {who}", f"{grown / 1e6:.1f} MB in all"
        )
