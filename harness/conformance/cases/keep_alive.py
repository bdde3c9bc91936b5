"""Server mode with keep-alive."""

from harness.conformance.case import Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.servers import REQUEST

SECTION = Section()


@SECTION.case("KEEP-MANY", "each of many requests on one connection gets its reply", flags=("-k",))
def keep_many(subject: Subject) -> None:
    """Two hundred, and the connection is open after the last one."""
    count = 200
    client = subject.connect()
    for number in range(1, count + 1):
        client.send(REQUEST)
        client.receive_reply(f"a reply to request {number} of {count} on one connection")
    if not client.stays_open(duration_s=0.1):
        raise ContractViolation(f"an open connection after {count} requests", "its end")


@SECTION.case("KEEP-PIECES", "a request in pieces gets one reply for each piece", flags=("-k",))
def keep_pieces(subject: Subject) -> None:
    """Cut a request within its line, within a field, and before its last bytes."""
    pieces = (b"GE", b"T / HTTP/1.0\r\nHo", b"st: a\r\n", b"\r\n")
    client = subject.connect()
    for number, piece in enumerate(pieces, 1):
        client.send(piece)
        client.receive_reply(f"a reply to piece {number} of {len(pieces)}")
    if client.unread():
        raise ContractViolation(f"{len(pieces)} replies to as many pieces", f"{client.unread()} bytes more")


@SECTION.case("KEEP-SLOW-READER", "a client that reads late gets every reply whole", flags=("-k",))
def keep_slow_reader(subject: Subject) -> None:
    """Small buffers fill up soon; each byte is sent when the one before was read, so each is a message of its own."""
    most_pieces = 1500
    client = subject.connect(small_buffers=True)
    sent = 0
    while sent < most_pieces:
        client.send(b"x")
        sent += 1
        if not client.wait_taken(timeout_s=0.2):
            break  # the server has stopped reading, as it should while its replies cannot leave
    reply = subject.exchange(what="a reply to another client meanwhile").raw
    arrived = client.receive(sent * len(reply), f"{sent} replies, read late,", timeout_s=10)
    if arrived != sent * reply:
        raise ContractViolation(f"{sent} whole replies, read late", f"other bytes at {_difference(arrived, reply)}")
    client.send(b"x")
    client.receive_reply("a reply after the late ones")


def _difference(arrived: bytes, reply: bytes) -> str:
    """Say where a row of replies is not what it should be."""
    position = next(i for i, byte in enumerate(arrived) if byte != reply[i % len(reply)])
    return f"byte {position % len(reply)} of reply {position // len(reply) + 1}"
