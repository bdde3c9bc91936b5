"""Where a backend's reply ends, told from the bytes that pass by.

The proxy relays bytes unchanged and needs to know only one thing: whether a reply is complete, so that
the exchange can end although the backend keeps its connection open. A reply is complete

- when it is an HTTP reply with a Content-Length and that many bytes of body have passed (RFC 9112,
  section 6.3), or its status (204, 304) allows no body; an interim reply (1xx) is followed by the real one;
- in every other case when the backend ends the stream.
"""

import re
import sys

MAX_HEAD = 65536
"""A head that grows beyond this is not taken for HTTP."""
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


class ReplyFraming:
    """Follows the replies on one backend connection."""

    __slots__ = ("_body_left", "_head", "between")

    def __init__(self) -> None:
        self.between = True
        """No reply has begun since the last one was complete."""
        self._head = b""
        self._body_left = 0

    def feed(self, data: bytes) -> int:
        """Take the next bytes from the backend and return how many replies became complete with them."""
        completed = 0
        while data:
            if self._body_left == 0:
                self.between = False
                head = self._head + data
                end = head.find(b"\r\n\r\n")
                if end < 0 and _may_become_head(head):
                    self._head = head
                    break
                self._head = b""
                # A head that came at once is judged as one that came byte by byte.
                if end < 0 or not _may_become_head(head[: end + 3]):
                    self._body_left = _UNTIL_END
                    break
                data = head[end + 4 :]
                if head[9:10] == b"1":
                    continue
                self._body_left = _body_length(head[: end + 2])
            taken = min(self._body_left, len(data))
            if self._body_left != _UNTIL_END:
                self._body_left -= taken
            data = data[taken:]
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


def _may_become_head(data: bytes) -> bool:
    return len(data) <= MAX_HEAD and data[:5] == b"HTTP/"[: len(data)]


def _body_length(head: bytes) -> int:
    if head[:5] != b"HTTP/":
        return _UNTIL_END
    if head[9:12] in (b"204", b"304"):
        return 0
    lengths = set()
    for coded, value in _FIELD.findall(head):
        length = value.strip(b" \t")
        if coded or not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
            return _UNTIL_END
        lengths.add(int(length))
    return lengths.pop() if len(lengths) == 1 else _UNTIL_END
