"""Where a backend's reply ends, and whether a client's request has, told from the bytes that pass by.

The proxy relays bytes unchanged and needs to know only one thing: whether a reply is complete, so that
the exchange can end although the backend keeps its connection open. A reply is complete

- when it is an HTTP reply with a Content-Length and that many bytes of body have passed (RFC 9112,
  section 6.3), or its status (204, 304) allows no body; an interim reply (1xx) is followed by the real one;
- in every other case when the backend ends the stream.

Of a request it needs to know whether a reply is owed for it, and whether more of it may come: then a close could
destroy the reply.
"""

import re
import sys
from functools import lru_cache

MAX_HEAD = 65536
"""A head that grows beyond this is not taken for HTTP."""
_HEADS_KNOWN = 8
"""Replies of a backend have few different heads, and to find the length in one takes a third of the time that an
exchange takes here. So many are kept, half a megabyte at most."""
MAX_LENGTH_DIGITS = 18
"""So that every length is below the mark for "until the end of the stream"."""

_UNTIL_END = sys.maxsize
_FIELD = re.compile(
    rb"\r\n(?:(transfer-encoding)[ \t]*:|content-length[ \t]*:(.*?)(?=\r\n))", re.IGNORECASE | re.DOTALL
)
_OTHER_FIELDS = rb"(?:(?!(?i:content-length|transfer-encoding))[^\r]+\r\n)*?"
_ONE_REPLY_HEAD = re.compile(
    rb"HTTP/1\.[01] (?!204)[245][^\r]*\r\n"
    + _OTHER_FIELDS
    # A second one of these fields leaves a doubt, and so does a space before the colon.
    + rb"(?i:content-length):[ \t]*(\d{1,%d})[ \t]*\r\n" % MAX_LENGTH_DIGITS
    + _OTHER_FIELDS
    + rb"\r\n"
)
_BLANK_LINE = b"\r\n\r\n"
_TELLING_BYTES = 21
"""A request's first bytes, which decide whether it may be HTTP: what follows a method and its space does not matter."""
_MAY_BECOME_REQUEST = re.compile(rb"[A-Z]{1,20}(?: .*)?", re.DOTALL)


class RequestFraming:
    """Follows the requests on one client's connection."""

    __slots__ = ("_body_left", "_head", "unanswered", "whole")

    def __init__(self) -> None:
        self.unanswered = 0
        """Requests begun, and not answered."""
        self.whole = True
        """The last request has come to its end, as far as can be told: what comes next begins another."""
        self._head: bytes | bytearray = b""
        self._body_left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the client.

        A request that is not HTTP, and one in a coding, is never whole; what comes of it is owed one reply.
        """
        if self.whole and _is_bare_request(data):
            self.unanswered += 1
            return
        if self._body_left == _UNTIL_END:
            self.unanswered = max(self.unanswered, 1)
            return
        stream, new_from = _grown(self._head, data) if self._head else (data, 0)
        at = 0  # as many short requests come in one read, what is left of it is not copied for each
        while at < len(stream):
            if self.whole:
                self.whole = False
                self.unanswered += 1
            if self._body_left == 0:
                end = stream.find(_BLANK_LINE, max(at, new_from))
                before = (len(stream) if end < 0 else end + 3) - at  # its last byte, had it come by bytes
                if before > MAX_HEAD or not _MAY_BECOME_REQUEST.fullmatch(stream, at, at + _TELLING_BYTES):
                    self._head = b""
                    self._body_left = _UNTIL_END
                    return
                if end < 0:
                    self._head = stream[at:] if at else stream
                    return
                self._head = b""
                self._body_left = _body_length(stream[at : end + 2], without=0)
                at = end + 4
            if self._body_left == _UNTIL_END:
                return
            taken = min(self._body_left, len(stream) - at)
            self._body_left -= taken
            at += taken
            self.whole = self._body_left == 0

    @property
    def may_be_answered(self) -> bool:
        """Whether the last request is whole, as far as can be told; one that does not say where it ends may be."""
        return self.whole or self._body_left == _UNTIL_END

    def answered(self, replies: int) -> None:
        """Take it that so many replies were complete."""
        self.unanswered = max(0, self.unanswered - replies)


class ReplyFraming:
    """Follows the replies on one backend connection."""

    __slots__ = ("_body_left", "_head", "between")

    def __init__(self) -> None:
        self.between = True
        """No reply has begun since the last one was complete."""
        self._head: bytes | bytearray = b""
        self._body_left = 0

    def feed(self, data: bytes) -> int:
        """Take the next bytes from the backend and return how many replies became complete with them."""
        completed = at = 0
        stream, new_from = _grown(self._head, data) if self._head else (data, 0)
        while at < len(stream):
            if self._body_left == 0:
                self.between = False
                end = stream.find(_BLANK_LINE, max(at, new_from))
                # A head that came at once is judged as one that came byte by byte.
                if not _may_become_head(stream[at : at + 5], (len(stream) if end < 0 else end + 3) - at):
                    self._head = b""
                    self._body_left = _UNTIL_END
                    break
                if end < 0:
                    self._head = stream[at:] if at else stream
                    break
                self._head = b""
                head, at = stream[at : end + 2], end + 4
                if head[9:10] == b"1":
                    continue
                self._body_left = _reply_body_length(bytes(head))
            taken = min(self._body_left, len(stream) - at)
            if self._body_left != _UNTIL_END:
                self._body_left -= taken
            at += taken
            if self._body_left == 0:
                completed += 1
                self.between = True
        return completed

    def end(self) -> bool:
        """Take the end of the stream: whether it completed a reply, as against none begun or one cut off."""
        return self._body_left == _UNTIL_END


def is_one_reply(data: bytes) -> bool:
    """Tell whether these bytes are one reply, whole, by its Content-Length, and nothing else; False when in doubt."""
    found = _ONE_REPLY_HEAD.match(data)
    return found is not None and len(data) - found.end() == int(found[1])


def is_whole_request(data: bytes) -> bool:
    """Tell whether these bytes are requests to their end, as far as can be told; False when more may be coming."""
    if _is_bare_request(data):
        return True
    framing = RequestFraming()
    framing.feed(data)
    return framing.whole


def _is_bare_request(data: bytes) -> bool:
    """Tell whether these bytes are one request without a body; False when in doubt. Most are, so this must be quick."""
    if not data.startswith((b"GET ", b"HEAD ")) or data.find(b"\r\n\r\n") != len(data) - 4:
        return False
    lower = data.lower()
    return b"content-length" not in lower and b"transfer-encoding" not in lower


def _grown(head: bytes | bytearray, data: bytes) -> tuple[bytearray, int]:
    """Add bytes to what came of a head, and tell from where on its end may be among them.

    Only what is new is looked at, and what is old is not copied: a head may come byte by byte.
    """
    grown = head if isinstance(head, bytearray) else bytearray(head)
    new_from = max(0, len(grown) - 3)
    grown += data
    return grown, new_from


def _may_become_head(begin: bytes | bytearray, length: int) -> bool:
    """Tell whether so many bytes may begin a reply, all or those of a head but its last; ``begin`` is five of them."""
    return length <= MAX_HEAD and begin == b"HTTP/"[:length]


@lru_cache(_HEADS_KNOWN)
def _reply_body_length(head: bytes) -> int:
    if head[:5] != b"HTTP/":
        return _UNTIL_END
    if head[9:12] in (b"204", b"304"):
        return 0
    return _body_length(head, without=_UNTIL_END)


def _body_length(head: bytes | bytearray, *, without: int) -> int:
    """Find the length that a head says; ``without`` is the one of a head that says nothing."""
    lengths = set()
    for coded, value in _FIELD.findall(head):
        length = value.strip(b" \t")
        if coded or not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
            return _UNTIL_END
        lengths.add(int(length))
    return without if not lengths else lengths.pop() if len(lengths) == 1 else _UNTIL_END
