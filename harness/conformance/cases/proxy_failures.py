"""Proxy mode with several backends, and with backends that refuse, break off or stay silent."""

import re
from functools import partial

from harness import processes
from harness.conformance.backend import reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, shown

SECTION = Section()

_HASTY = ("-v", "--reply-timeout", "1.5")
_TOLD_WITHIN_S = 4.0
"""How soon a failure must be in the log, and in the lines that come every second."""
_COUNTER = re.compile(r"\b(backend_refused|backend_timeout)=(\d+)")


@SECTION.case(
    "PROXY-ROUND-ROBIN",
    "one worker gives its connections to the backends in turn",
    backends=("live",) * 3,
    server="own",
)
def round_robin(subject: Subject) -> None:
    """Two rounds, from whichever backend on."""
    order = [backend.address for backend in subject.live_backends]
    seen = []
    for _ in range(2 * len(order)):
        client, call = subject.connect(), subject.call()
        client.send(call.request())
        backend = call.accept(client)
        seen.append(order.index(f"{backend.local[0]}:{backend.local[1]}") + 1)
        backend.send(reply_with_length())
        client.receive_reply()
    first = seen[0] - 1
    wanted = [(first + i) % len(order) + 1 for i in range(len(seen))]
    if seen != wanted:
        raise ContractViolation(f"backends in turn, {_row(wanted)}", _row(seen))


@SECTION.case("PROXY-NEXT-BACKEND", "when a backend refuses, the next one is tried", backends=("dead", "live"))
def next_backend(subject: Subject) -> None:
    """Serve clients one after another, then many at once: each must reach the backend that lives."""
    for _ in range(4):
        _expect_served(subject)
    clients = [(subject.connect(), subject.call()) for _ in range(20)]
    for client, call in clients:
        client.send(call.request())
    for client, call in clients:
        call.accept(client).send(reply_with_length())
    for client, _ in clients:
        _expect_status(client, "200", "the next backend's reply to one of many clients at once")


@SECTION.case("PROXY-502", "when every backend refuses, the client gets a 502", backends=("dead", "dead"), server="own")
def all_refuse(subject: Subject) -> None:
    """Get an HTTP reply, then the end of the stream."""
    client = subject.connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    _expect_status(client, "502", "a 502, as every backend refuses")
    client.expect_end("after the 502")


@SECTION.case(
    "PROXY-502-BROKEN",
    "a backend that ends without a reply gets the client a 502",
    backends=("live",),
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def no_reply(subject: Subject) -> None:
    """By an ordinary end, and by a reset."""
    for how in ("closes", "resets"):
        client, call = subject.connect(), subject.call()
        client.send(call.request())
        backend = call.accept(client)
        backend.receive(len(call.request()), "the request at the backend")
        if how == "closes":
            backend.close()
        else:
            backend.reset()
        _expect_status(client, "502", f"a 502, as the backend {how} without a reply")
        client.expect_end("after the 502")


@SECTION.case(
    "PROXY-504",
    "a backend that is silent too long gets the client a 504",
    flags=_HASTY,
    backends=("live",),
    server="own",
)
def silent(subject: Subject) -> None:
    """Another client is served meanwhile."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    call.accept(client)
    _expect_served(subject)
    _expect_status(client, "504", "a 504, as the backend stays silent")
    client.expect_end("after the 504")


@SECTION.case(
    "PROXY-504",
    "a backend that is silent too long gets the client a 504",
    flags=_HASTY,
    backends=("live",),
    server="own",
    name="within its reply",
)
def silent_within_reply(subject: Subject) -> None:
    """Nothing else happens meanwhile that might wake the worker."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    part = reply_with_length()[:20]
    backend.send(part)
    client.expect(part, "the first part of the reply")
    client.expect_end("when the backend has been silent too long within its reply")


@SECTION.case(
    "PROXY-LOGGED",
    "a backend that refuses or is silent too long is logged",
    flags=_HASTY,
    backends=("dead", "live"),
    server="own",
)
def logged(subject: Subject) -> None:
    """Look for both addresses when both have happened."""
    _meet_refusal_and_silence(subject)
    for address, what in ((subject.dead_backends[0], "refuses"), (subject.live_backends[0].address, "is too slow")):
        if not processes.wait_until(partial(_is_logged, subject, address), _TOLD_WITHIN_S):
            last = subject.server.log_text().splitlines()[-3:]
            raise ContractViolation(f"{address}, which {what}, in the log", shown("\n".join(last).encode(), 200))


@SECTION.case(
    "PROXY-COUNTED",
    "a backend that refuses or is silent too long is counted",
    flags=_HASTY,
    backends=("dead", "live"),
    server="own",
)
def counted(subject: Subject) -> None:
    """Add up the lines since the server began."""
    _meet_refusal_and_silence(subject)
    for kind in ("backend_refused", "backend_timeout"):
        if not processes.wait_until(partial(_is_counted, subject, kind), _TOLD_WITHIN_S):
            raise ContractViolation(f"{kind} above 0 in the -v lines", "0 in all of them, or none with that name")


def _expect_served(subject: Subject) -> None:
    client, call = subject.connect(), subject.call()
    request = call.request()
    client.send(request)
    backend = call.accept(client)
    if backend.receive(len(request), "the request at the next backend") != request:
        raise ContractViolation("the request unchanged at the next backend", "another")
    backend.send(reply_with_length())
    _expect_status(client, "200", "the next backend's reply")


def _meet_refusal_and_silence(subject: Subject) -> None:
    """Send a request that one backend refuses and the other does not answer."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    call.accept(client)
    client.receive_reply("a 504, as the backend stays silent")


def _is_logged(subject: Subject, address: str) -> bool:
    return address in subject.server.log_text()


def _is_counted(subject: Subject, kind: str) -> bool:
    found = _COUNTER.findall("\n".join(subject.server.stderr_lines()))
    return any(name == kind and int(count) for name, count in found)


def _expect_status(client: Connection, status: str, what: str) -> None:
    reply = client.receive_reply(what)
    if reply.status != status:
        raise ContractViolation(what, repr(reply.status_line))


def _row(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))
