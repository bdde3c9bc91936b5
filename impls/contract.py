"""The contract in code: reply bytes, limits, and what the flags (``flags.py``) come to.

What each of them obliges an implementation to is written down, with an id each, in CONTRACT.md.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from impls.addresses import Address
from impls.privileges import User

BODY = b"<html><body><h1>200 OK</h1><p>percore answers</p></body></html>"


def _reply(status: bytes, connection: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.0 %b\r\nCache-Control: no-cache\r\nConnection: %b\r\n"
        b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (status, connection, len(body), body)
    )


REPLY_CLOSE = _reply(b"200 OK", b"close", BODY)
REPLY_KEEP_ALIVE = _reply(b"200 OK", b"keep-alive", BODY)
BAD_GATEWAY = _reply(b"502 Bad Gateway", b"close", b"no backend took the request\n")
GATEWAY_TIMEOUT = _reply(b"504 Gateway Timeout", b"close", b"the backend did not answer in time\n")

ListenMode = Literal["shared", "exclusive", "reuseport", "percpu"]
"""How workers share what they listen on. ``shared``: one socket for each address, and whoever waits is woken for each
connection. ``exclusive``: likewise, but the kernel wakes no more than it has to (EPOLLEXCLUSIVE in epoll_ctl(2)).
``reuseport``: each worker has a socket of its own, and the kernel chooses one by the connection's addresses and ports
(SO_REUSEPORT in socket(7)). ``percpu``: likewise, but it is that of the worker on the CPU that has received the SYN."""
LISTEN_MODES: Final[tuple[ListenMode, ...]] = get_args(ListenMode)
DEFAULT_LISTEN_MODE: Final[ListenMode] = "shared"

READ_SIZE = 4096
"""Bytes a server asks for in one read. What one read returns is one message."""
RELAY_SIZE = 65536
"""Bytes a proxy asks for in one read."""
BACKLOG = 8192
"""What listen(2) is asked for; the kernel caps it at net.core.somaxconn."""
GET, BLANK_LINE = b"GET ", b"\r\n\r\n"
"""How a request begins and ends that is whole, as far as one read tells; after anything else more may be coming."""
LINGER_S = 2.0
"""How long a client may stay silent to which the server has ended its stream, and from which it reads on, so that no
reset destroys the reply on its way."""
LINGER_MOST_S = 30.0
"""How long it reads on at most from a client that is never silent."""
GONE_CHECK_S = 0.1
"""How often a proxy asks a client that it does not read from whether it is still there: one that has ended its stream,
or whose request its backend does not take. Where it resets, not every library tells of that."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for, checked and resolved."""

    cpus: tuple[int, ...]
    """Worker i is bound to ``cpus[i]``; the length is the number of workers."""
    addresses: tuple[Address, ...]
    """Where to listen."""
    listen_mode: ListenMode
    backends: tuple[Address, ...]
    """Empty in server mode."""
    keepalive: bool
    lean: bool
    """Whether listeners and backend sockets save segments, as DESIGN.md explains."""
    log_file: str
    verbose: bool
    debug: bool
    connect_timeout_s: float
    reply_timeout_s: float
    idle_timeout_s: float
    """How long a connection may carry nothing in either direction."""
    backend_rest_s: float
    """How long a backend that refused, or did not accept in time, is left out."""
    max_connections: int
    """Clients' connections that a worker may hold; see ``Worker.max_connections``."""
    grace_s: float
    """After a signal to end, how long what is under way may take to finish."""
    user: User | None
    """Whom the processes are to run as, when they listen; None for whoever started them."""

    @property
    def listeners_apart(self) -> bool:
        """Whether each worker has listeners of its own."""
        return self.listen_mode in ("reuseport", "percpu")

    @property
    def queues_apart(self) -> bool:
        """Whether nobody but one worker empties the queue of a listener: it has its own, or is the only worker."""
        return self.listeners_apart or len(self.cpus) == 1

    @property
    def reply(self) -> bytes:
        """The bytes that answer one message in server mode."""
        return REPLY_KEEP_ALIVE if self.keepalive else REPLY_CLOSE
