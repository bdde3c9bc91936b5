"""The ways of working of a server that are loaded at once."""

from collections.abc import Sequence
from dataclasses import dataclass

REPLY_TIMEOUT_S, CONNECT_TIMEOUT_S, BACKEND_REST_S = 5.0, 1.0, 0.2
"""What the servers are given. The first is far beyond what a busy machine adds to a stall, the last as short as it can
be, so that a 502 for want of backends has a narrow window."""
GRACE_S, IDLE_TIMEOUT_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Way:
    """A server of its own, with its flags."""

    name: str
    flags: Sequence[str] = ()
    proxied: bool = False
    kept: bool = False
    """Whether a connection carries several exchanges."""


WAYS = (
    Way("server"),
    Way("keepalive", ("-k", "-d"), kept=True),  # the log grows by what it reads, which is little there
    Way("proxy", proxied=True),
    Way("proxy-keepalive", ("-k",), proxied=True, kept=True),
)


def flags(way: Way, workers: int, backends: Sequence[str]) -> list[str]:
    """Return the flags of the server that works in this way."""
    given = ["-w", str(workers), "--oversubscribe", "-v", *way.flags]
    given += ["--grace", f"{GRACE_S:g}", "--idle-timeout", f"{IDLE_TIMEOUT_S:g}"]
    if way.proxied:
        given += ["--connect-timeout", f"{CONNECT_TIMEOUT_S:g}", "--reply-timeout", f"{REPLY_TIMEOUT_S:g}"]
        given += ["--backend-rest", f"{BACKEND_REST_S:g}", "-x", *backends]
    return given
