"""Proxy mode: when an exchange ends, and who ends it."""

from harness import processes
from harness.conformance.backend import reply_to_the_end, reply_with_length
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.cases.proxy_relay import BEYOND_BYTES, reply_unread, room_on_the_way, serve
from harness.conformance.connection import PATIENCE_S
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation

SECTION = Section()


@SECTION.case("PROXY-END-LENGTH", "without -k a complete reply ends the exchange", backends=("live",))
def end_by_length(subject: Subject) -> None:
    """Keep the backend's connection open."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.send(reply_with_length())
    client.expect(reply_with_length(), "the reply")
    client.expect_end("after a reply with Content-Length, although the backend keeps its connection open")
    backend.expect_gone("when the exchange is over")


@SECTION.case("PROXY-END-EOF", "without -k the backend's end ends the exchange", backends=("live",))
def end_by_eof(subject: Subject) -> None:
    """Send a reply that does not say how long it is."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.receive(len(call.request()), "the request at the backend")
    backend.send(reply_to_the_end())
    client.expect(reply_to_the_end(), "the reply")
    if not client.stays_open(duration_s=0.05):
        raise ContractViolation("an open connection while the backend may send more", "its end")
    rest = b"the rest"
    backend.send(rest)
    backend.end()
    client.expect(rest, "the rest of the reply")
    client.expect_end("when the backend has ended its stream")


@SECTION.case("PROXY-KEEP", "with -k exchanges follow until a side closes", flags=("-k",), backends=("live",))
def keep(subject: Subject) -> None:
    """Exchange thrice on a pair of connections, and close the client's; then on another, and close the backend's."""
    count = 3
    for closing_side in ("client", "backend"):
        client, call = subject.connect(), subject.call()
        client.send(call.request())
        backend = call.accept(client)
        for number in range(1, count + 1):
            backend.expect(call.request(), f"request {number} on the same backend connection")
            backend.send(reply_with_length())
            client.expect(reply_with_length(), f"reply {number} on the same connection")
            if number < count:
                client.send(call.request())
        if closing_side == "client":
            client.close()
            backend.expect_gone("when the client has closed")
        else:
            backend.close()
            client.expect_end("when the backend has closed")


@SECTION.case(
    "PROXY-HALF-CLOSE",
    "a client that ends its stream after the request gets the whole reply",
    backends=("live",),
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def half_close(subject: Subject) -> None:
    """Answer, in two parts, when the backend has seen the end of the request."""
    client, call = subject.connect(), subject.call()
    request = call.request()
    client.send(request)
    client.end()
    backend = call.accept(client)
    backend.expect(request, "the request at the backend")
    backend.expect_end("after the request, as the client has ended its stream")
    reply = reply_to_the_end()
    half = len(reply) // 2
    backend.send(reply[:half])
    backend.wait_taken(PATIENCE_S)
    backend.send(reply[half:])
    backend.end()
    client.expect(reply, "the reply after a half-close")
    client.expect_end("after the reply")


@SECTION.case(
    "PROXY-HALF-CLOSE",
    "a client that ends its stream after the request gets the whole reply",
    backends=("live",),
    name="reply unread",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def end_while_reply_is_unread(subject: Subject) -> None:
    """End the stream when the reply is complete at the proxy, and not all of it has left."""
    room = room_on_the_way(subject)
    for beyond in (BEYOND_BYTES, 15 * BEYOND_BYTES, 25 * BEYOND_BYTES):
        client, reply = reply_unread(subject, room + beyond)
        client.end()
        client.expect(reply, "a reply to a client that has ended its stream meanwhile")


@SECTION.case(
    "PROXY-CLIENT-GONE",
    "when the client resets, the backend connection is closed",
    backends=("live",),
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def client_gone(subject: Subject) -> None:
    """Reset before the reply, and within it; then by a client that has ended its stream before."""
    for part, ended in ((b"", False), (reply_with_length()[:20], False), (b"", True)):
        client, call = subject.connect(), subject.call()
        client.send(call.request())
        backend = call.accept(client)
        backend.receive(len(call.request()), "the request at the backend")
        if ended:
            client.end()
            serve(subject, subject.connect())  # when that is done, the worker has seen the end
        if part:
            backend.send(part)
            client.expect(part, "the first part of the reply")
        client.reset()
        if not ended:
            backend.expect_gone("when the client has reset its own")
        elif not processes.wait_until(backend.is_left, PATIENCE_S):
            # Nothing more can be read after the end of the stream, so the kernel's table has to tell.
            raise ContractViolation(
                "a closed backend connection when a client has ended its stream and then reset it",
                f"an open one after {PATIENCE_S:g} s",
            )
