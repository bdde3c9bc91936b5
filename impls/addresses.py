"""Addresses as they stand on the command line, and as the kernel takes them."""

import socket
from dataclasses import dataclass

MAX_ADDRESSES = 32
"""Addresses after one kind of flag; the original demo server has the same limit."""


MAX_PORT = 65535
MAX_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Address:
    """One resolved TCP address."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(text: str) -> Address:
    """Turn ``IP:PORT``, ``[IPv6]:PORT`` or ``NAME:PORT`` into an address; a name is looked up here, once.

    Raises ValueError with one line that says what would be right.
    """
    host, port = split(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise ValueError(f"unknown host {host!r}: {reason}; give IP:PORT, [IPv6]:PORT or NAME:PORT") from None
    family, _, _, _, sockaddr = found[0]
    return Address(socket.AddressFamily(family), str(sockaddr[0]), port)


def split(text: str) -> tuple[str, int]:
    """Split ``HOST:PORT`` at its last colon. Raises ValueError."""
    if any(char.isspace() for char in text):
        raise ValueError("give one IP:PORT, and the next one apart")
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif {":", "[", "]"} & {*host}:
        raise ValueError("an IPv6 address stands in brackets, as in [::1]:80")
    if host == "*":
        raise ValueError("give 0.0.0.0:PORT or [::]:PORT for all addresses")
    if not colon or not host:
        raise ValueError("give IP:PORT, as in 127.0.0.1:8080 or [::1]:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= MAX_DIGITS and 1 <= int(port) <= MAX_PORT):
        raise ValueError(f"port {port!r} is not a number from 1 to {MAX_PORT}")
    return host, int(port)
