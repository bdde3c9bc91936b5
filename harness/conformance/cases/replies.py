"""Server mode: the reply, and who closes when."""

from pathlib import Path

from harness import processes
from harness.conformance import sock_diag
from harness.conformance.case import WITH_AND_WITHOUT_KEEPALIVE, Section
from harness.conformance.connection import PATIENCE_S, Connection
from harness.conformance.reply import Reply
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, TooLate, shown
from harness.servers import REQUEST

SECTION = Section()

_STATUS_LINE = "HTTP/1.0 200 OK"
_BODY_BYTES = 63
_ANY_BYTES = {
    "one byte": b"x",
    "a line": b"hello\n",
    "zero bytes": bytes(100),
    "all byte values": bytes(range(256)),
    "a TLS greeting": bytes.fromhex("16030100310100002d0303") + bytes(38),
    "a request with other fields": b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "2048 bytes": b"y" * 2048,
}
_AT_ONCE_S = 0.2
_TRIES = 5
"""Of so many exchanges the quickest counts, because on a busy machine some are late, or the look at them."""
_TIME_WAIT_WITHIN_S = 2.0
_FULL_SHARE = 0.9


@SECTION.case("REPLY-BYTES", "any bytes get exactly this reply", variants=WITH_AND_WITHOUT_KEEPALIVE)
def reply_bytes(subject: Subject) -> None:
    """Status line, each field once and no other, and a body of 63 bytes."""
    reply = _all_that_comes(subject)
    fields = {
        "cache-control": "no-cache",
        "connection": "keep-alive" if subject.keepalive else "close",
        "content-type": "text/html",
    }
    if reply.status_line != _STATUS_LINE:
        raise ContractViolation(f"the status line {_STATUS_LINE!r}", repr(reply.status_line))
    names = sorted(name.lower() for name, _ in reply.fields)
    if names != sorted([*fields, "content-length"]):
        raise ContractViolation(
            f"each of the fields {', '.join([*fields, 'content-length'])} once", ", ".join(names) or "none"
        )
    for name, value in reply.fields:
        wanted = fields.get(name.lower(), value)
        if value != wanted:
            raise ContractViolation(f"'{name}: {wanted}'", f"'{name}: {value}'")
    if len(reply.body) != _BODY_BYTES:
        raise ContractViolation(f"a body of {_BODY_BYTES} bytes", f"{len(reply.body)}: {shown(reply.body)}")


@SECTION.case("REPLY-LENGTH", "Content-Length is the number of bytes in the body", variants=WITH_AND_WITHOUT_KEEPALIVE)
def reply_length(subject: Subject) -> None:
    """Compare what the field says with what came."""
    reply = _all_that_comes(subject)
    if reply.content_length != len(reply.body):
        raise ContractViolation(f"Content-Length: {len(reply.body)}", f"Content-Length: {reply.content_length}")


@SECTION.case("REPLY-ANY-BYTES", "what the bytes are does not matter", variants=WITH_AND_WITHOUT_KEEPALIVE)
def reply_any_bytes(subject: Subject) -> None:
    """Bytes that are no HTTP request, or a strange one."""
    for name, request in _ANY_BYTES.items():
        subject.exchange(request=request, what=f"a reply to {name}")


@SECTION.case("REPLY-ONE-PACKET", "the reply arrives in one TCP segment", variants=WITH_AND_WITHOUT_KEEPALIVE)
def reply_one_packet(subject: Subject) -> None:
    """Ask the kernel how many segments with data in them arrived."""
    client = subject.connect()
    client.send(REQUEST)
    client.receive_reply()
    segments = client.data_segments_in()
    if segments != 1:
        raise ContractViolation("a reply in 1 segment", f"{segments} segments")


@SECTION.case("REPLY-LARGE-REQUEST", "a request much larger than one read is answered in full, and no reset follows")
def reply_large_request(subject: Subject) -> None:
    """Most of the request arrives when the reply is on its way already."""
    part = b"z" * 65536
    client = subject.connect()
    client.send(part)
    client.receive_reply("a reply to the first of 256 KB")
    for _ in range(3):
        client.send(part)
    client.end()
    client.receive_to_end("no reset after the reply")


@SECTION.case("REPLY-SPLIT-REQUEST", "a request in pieces is answered at the first, and no reset follows")
def reply_split_request(subject: Subject) -> None:
    """Send the rest when the reply is there: a reset would come at the second piece, and none take the third."""
    client = subject.connect()
    client.send(REQUEST[:-6])
    client.receive_reply("a reply to the first piece of a request")
    for piece in (REQUEST[-6:-3], REQUEST[-3:]):
        client.send(piece)
        client.wait_arrived(PATIENCE_S)
    client.end()
    client.receive_to_end("no reset after the reply")


@SECTION.case("CLOSE-FIRST", "without -k the server closes first, at once after the reply")
def close_first(subject: Subject) -> None:
    """Take the time from the reply to the end of the stream; then see whose TIME_WAIT it is.

    When the reply arrived the kernel knows: to a process that sees it late the end would seem to come soon after it.
    """
    delays_s = []
    for _ in range(_TRIES):
        client = subject.connect()
        client.send(REQUEST)
        client.receive_reply()
        client.receive_to_end("nothing more after the reply")
        delays_s.append(client.since_data_s())
    if min(delays_s) > _AT_ONCE_S:
        raise TooLate(f"the end of the stream within {_AT_ONCE_S:g} s of the reply", f"{min(delays_s):.2f} s at best")
    client.close()
    if _time_wait_table_full():
        return  # the kernel keeps no more of them; that the end came before the client's close is shown above
    if not processes.wait_until(lambda: _in_time_wait(client), _TIME_WAIT_WITHIN_S):
        raise ContractViolation("TIME_WAIT on the server's side", "none in the kernel's table")


@SECTION.case("CLOSE-ON-EOF", "when the client ends its stream the server closes", variants=WITH_AND_WITHOUT_KEEPALIVE)
def close_on_eof(subject: Subject) -> None:
    """Send not a byte."""
    client = subject.connect()
    client.end()
    client.expect_end("after the client's, which sent no request")


def _all_that_comes(subject: Subject) -> Reply:
    """Return one reply with all the bytes that came for one request, whatever its Content-Length says."""
    client = subject.connect()
    client.send(REQUEST)
    if not subject.keepalive:
        return Reply.parse(client.receive_to_end("a reply"), "a reply")
    reply = client.receive_reply()
    subject.exchange(what="a reply to another client")  # when that is there, so is whatever came with the first
    if client.unread():
        raise ContractViolation("one reply, as long as its Content-Length says", f"{client.unread()} bytes more")
    return reply


def _in_time_wait(client: Connection) -> bool:
    side = sock_diag.find(client.remote, client.local)
    return side is not None and side.state == sock_diag.TIME_WAIT


def _time_wait_table_full() -> bool:
    """Tell whether earlier load has left hardly any room below net.ipv4.tcp_max_tw_buckets (tcp(7))."""
    most = int(Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text())
    fields = Path("/proc/net/sockstat").read_text().partition("TCP:")[2].split()
    return int(fields[fields.index("tw") + 1]) > _FULL_SHARE * most
