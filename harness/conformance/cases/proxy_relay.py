"""Proxy mode: bytes pass unchanged, in both directions."""

import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from harness import processes
from harness.conformance.backend import reply_to_the_end, reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.connection import PATIENCE_S, Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation

SECTION = Section()

_LARGE_BYTES = 5_000_000
LARGE_TIMEOUT_S = 30.0
"""How long a large message may take while more of it comes; that nothing does ends a case much sooner."""
BEYOND_BYTES = 2_000
_TRIES = 4
"""How many bytes are in one read of the proxy differs from one try to the next."""
_SENT_WITHIN_S = 10 * LARGE_TIMEOUT_S
"""Longer than those wait who receive several in turn: they give up first, and the senders with them."""
LARGE = array("I", range(_LARGE_BYTES // 4)).tobytes()
"""No two parts of it are alike, so bytes that are lost, doubled or out of order show."""


@SECTION.case(
    "PROXY-RELAY", "request and reply pass unchanged", backends=("live",), variants=WITH_AND_WITHOUT_KEEPALIVE
)
def relay(subject: Subject) -> None:
    """Send a small request, and a small reply."""
    client, call = subject.connect(), subject.call()
    request = call.request()
    client.send(request)
    backend = call.accept(client)
    backend.expect(request, "the request at the backend")
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "the backend's reply at the client")


@SECTION.case(
    "PROXY-NEW-CONNECTION",
    "each client connection gets a backend connection, when the first bytes have arrived",
    backends=("live",),
    server="own",
)
def new_connection(subject: Subject) -> None:
    """Let one client send nothing at first, while later ones are served."""
    (backend,) = subject.live_backends
    silent = subject.connect()
    served = 3
    for _ in range(served):
        serve(subject, subject.connect())
    if backend.connections != served:
        raise ContractViolation(
            f"{served} backend connections for {served} clients with a request and one that sent nothing",
            str(backend.connections),
        )
    serve(subject, silent)
    if backend.connections != served + 1:
        raise ContractViolation(f"{served + 1} backend connections for as many clients", str(backend.connections))


@SECTION.case(
    "PROXY-LARGE-REPLY", "a reply of 5 MB arrives whole", backends=("live",), variants=WITH_AND_WITHOUT_KEEPALIVE
)
def large_reply(subject: Subject) -> None:
    """Send one with Content-Length, then one without, to a client with small buffers that fill up soon."""
    for reply, kind in (
        (reply_with_length(LARGE), "with Content-Length"),
        (reply_to_the_end(LARGE), "until the end"),
    ):
        client, call = subject.connect(small_buffers=True), subject.call()
        client.send(call.request())
        backend = call.accept(client)
        backend.receive(len(call.request()), "the request at the backend")
        with sending(backend, reply):
            client.expect(reply, f"the reply {kind} at the client", LARGE_TIMEOUT_S)
        if kind == "until the end":
            backend.end()
            client.expect_end("after the reply")


@SECTION.case(
    "PROXY-LARGE-REPLY",
    "a reply of 5 MB arrives whole",
    backends=("live",),
    name="read late",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def reply_read_late(subject: Subject) -> None:
    """Let a reply be complete at the proxy when the kernel cannot take quite all of it for the client."""
    length = room_on_the_way(subject) + BEYOND_BYTES
    for _ in range(_TRIES):
        client, reply = reply_unread(subject, length)
        client.expect(reply, "a reply that the client reads late", LARGE_TIMEOUT_S)


@SECTION.case(
    "PROXY-LARGE-REQUEST", "a request of 5 MB arrives whole", backends=("live",), variants=WITH_AND_WITHOUT_KEEPALIVE
)
def large_request(subject: Subject) -> None:
    """Send it while the backend reads, and get a small reply."""
    client, call = subject.connect(), subject.call()
    request = call.request(LARGE)
    with sending(client, request):
        backend = call.accept(client)
        backend.expect(request, "the request at the backend", LARGE_TIMEOUT_S)
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "the reply to a large request")


@SECTION.case(
    "PROXY-SPLIT-REPLY", "a reply in pieces arrives whole", backends=("live",), variants=WITH_AND_WITHOUT_KEEPALIVE
)
def split_reply(subject: Subject) -> None:
    """Send every byte alone, when the proxy has read the one before; it is one reply all the same."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.receive(len(call.request()), "the request at the backend")
    _send_apart(backend, reply_with_length())
    client.expect(reply_with_length(), "a reply that came byte by byte")
    if subject.keepalive:
        client.send(call.request())
        backend.receive(len(call.request()), "a second request after a reply in pieces")
    else:
        client.expect_end("after a reply in pieces")


@SECTION.case(
    "PROXY-SPLIT-REQUEST", "a request in pieces arrives whole", backends=("live",), variants=WITH_AND_WITHOUT_KEEPALIVE
)
def split_request(subject: Subject) -> None:
    """Send every byte alone, when the proxy has read the one before."""
    client, call = subject.connect(), subject.call()
    request = call.request()
    _send_apart(client, request)
    backend = call.accept(client)
    backend.expect(request, "a request that came byte by byte")
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "the reply to a request in pieces")


def serve(subject: Subject, client: Connection) -> None:
    """Have one small exchange."""
    call = subject.call()
    client.send(call.request())
    call.accept(client).send(reply_with_length())
    client.expect(reply_with_length(), "the backend's reply at the client")


def reply_unread(subject: Subject, length: int) -> tuple[Connection, bytes]:
    """Send a reply of that length of body, of which the client has read nothing when the proxy takes no more of it."""
    reply = reply_with_length(LARGE[:length])
    client, call = subject.connect(small_buffers=True), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.receive(len(call.request()), "the request at the backend")
    backend.send(reply)
    backend.wait_at_rest(is_sending=lambda: False)
    return client, reply


def room_on_the_way(subject: Subject) -> int:
    """Find out how much of a reply the kernel holds for a client that reads nothing."""
    client, call = subject.connect(small_buffers=True), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    reply = reply_to_the_end(LARGE)
    with sending(backend, reply) as sender:
        processes.wait_until(lambda: client.on_the_way() > 0, PATIENCE_S)
        backend.wait_at_rest(sender.is_alive)
        room = client.on_the_way()
        client.expect(reply, "a large reply that the client reads late", LARGE_TIMEOUT_S)
    return room


def _send_apart(sender: Connection, data: bytes) -> None:
    """Send each byte alone; each is read at the other end before the next."""
    for i in range(len(data)):
        sender.send(data[i : i + 1])
        if not sender.wait_taken(PATIENCE_S):
            raise ContractViolation(f"byte {i + 1} of {len(data)} to be read", f"nothing read in {PATIENCE_S:g} s")


@contextmanager
def sending(sender: Connection, data: bytes) -> Iterator[threading.Thread]:
    """Send in another thread, so that much can be sent while it is received."""
    problems: list[ContractViolation] = []

    def send() -> None:
        try:
            sender.send(data, _SENT_WITHIN_S)
        except ContractViolation as violation:
            problems.append(violation)

    thread = threading.Thread(target=send, name="sender")
    thread.start()
    try:
        yield thread
    except BaseException:
        sender.give_up()
        raise
    finally:
        thread.join()
    if problems:
        raise problems[0]
