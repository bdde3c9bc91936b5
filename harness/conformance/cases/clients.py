"""Server mode with clients that leave early, say nothing, or are many."""

import resource
import threading
import time

from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing
from harness.servers import REQUEST

SECTION = Section()


@SECTION.case("HALF-CLOSE", "a client that ends its stream after its request gets the reply", variants=("", "-k"))
def half_close(subject: Subject) -> None:
    """Request and end of the stream arrive together."""
    client = subject.connect()
    client.send(REQUEST)
    client.end()
    client.receive_reply("a reply to a request that the end of the stream follows")
    client.receive_to_end("nothing more after the reply")


@SECTION.case("RESET", "a client's reset disturbs no other connection", variants=WITH_AND_WITHOUT_KEEPALIVE)
def reset(subject: Subject) -> None:
    """Reset before a request, after it, and with the reply unread, while another client waits."""
    count = 20
    other = subject.connect()
    for _ in range(count):
        subject.connect().reset()
        unanswered = subject.connect()
        unanswered.send(REQUEST)
        unanswered.reset()
        answered = subject.connect()
        answered.send(REQUEST)
        answered.receive(1, "a reply")
        answered.reset()
    other.send(REQUEST)
    other.receive_reply("a reply on a connection that was open while others were reset")
    subject.exchange(what="a reply after others were reset")


@SECTION.case("IDLE", "connections that send nothing disturb no other and stay open", variants=("", "-k"))
def idle(subject: Subject) -> None:
    """Fifty for a second; then they are used after all."""
    clients = [subject.connect() for _ in range(50)]
    subject.exchange(what=f"a reply beside {len(clients)} idle connections")
    if not (clients[0].stays_open(duration_s=1.0) and all(one.stays_open(duration_s=0.001) for one in clients[1:])):
        raise ContractViolation("idle connections that stay open", "the end of one within a second")
    for client in clients:
        client.send(REQUEST)
    for client in clients:
        client.receive_reply("a reply to a connection that was idle")


_MANY = 1000
_one_at_a_time = threading.Lock()


@SECTION.case(
    "MANY-1000",
    "1,000 connections open at once are all answered",
    server="own",
    variants=WITH_AND_WITHOUT_KEEPALIVE,
)
def many(subject: Subject) -> None:
    """All are open before the first request is sent, and all requests are sent before a reply is read.

    On a server of its own, as one that cannot hold so many might drop those of other cases.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = 200
    if limit < _MANY + spare:
        raise RequirementMissing(f"this process may open {limit} files, and {_MANY + spare} are needed (ulimit -n)")
    with _one_at_a_time:
        clients = [subject.connect() for _ in range(_MANY)]
        for client in clients:
            client.send(REQUEST)
        deadline = time.monotonic() + 15
        for number, client in enumerate(clients, 1):
            what = f"a reply on connection {number} of {_MANY} at once"
            client.receive_reply(what, timeout_s=deadline - time.monotonic())
        for client in clients:
            client.close()
