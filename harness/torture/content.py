"""What requests and replies carry: bytes that follow from the identity of their exchange, others for each."""

import random
import zlib

_BLOCK_BYTES = 1_048_573
"""A prime number, so that what is longer does not repeat in step with any buffer."""
_MOST_IDENTITY_BYTES = 100


class Content:
    """Makes contents; with the same seed the same ones."""

    def __init__(self, seed: int) -> None:
        self._block = random.Random(seed).randbytes(_BLOCK_BYTES)

    def request(self, identity: bytes, size: int) -> bytes:
        """Return a request with a body of ``size`` bytes."""
        head = b"PUT /%b HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (identity, size)
        return head + self._body(b"request " + identity, size)

    def reply(self, identity: bytes, size: int, *, with_length: bool) -> bytes:
        """Return a backend's reply with a body of ``size`` bytes, which says how long it is or lasts until the end."""
        head = b"HTTP/1.1 200 OK\r\nX-Identity: %b\r\n" % identity
        head += b"Content-Length: %d\r\n\r\n" % size if with_length else b"\r\n"
        return head + self._body(b"reply " + identity, size)

    def _body(self, name: bytes, size: int) -> bytes:
        begin = zlib.crc32(name) % _BLOCK_BYTES
        first = self._block[begin : begin + size]
        missing = size - len(first)
        if not missing:
            return first
        whole, rest = divmod(missing, _BLOCK_BYTES)
        return first + self._block * whole + self._block[:rest]


def identity_of(request: bytes | bytearray) -> bytes:
    """Return the identity that a request begins with; empty when it begins otherwise."""
    verb, _, rest = bytes(request[:_MOST_IDENTITY_BYTES]).partition(b"/")
    identity, space, _ = rest.partition(b" ")
    return identity if space and verb == b"PUT " else b""
