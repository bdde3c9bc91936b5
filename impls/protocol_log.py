"""Lines for ``-d`` about connections that are asyncio transports."""

import asyncio

from impls.log import Log

_GONE = ("0.0.0.0", 0)  # noqa: S104  shown, not bound to


def descriptor(transport: asyncio.Transport) -> int:
    """Tell a connection's file descriptor, which is its name in the log."""
    fd: int = transport.get_extra_info("socket").fileno()
    return fd


def log_accepted(log: Log, transport: asyncio.Transport) -> None:
    """Log that a client's connection was accepted; one that was reset by then has no address any more."""
    log.accepted(descriptor(transport), transport.get_extra_info("peername") or _GONE)


def log_closed(log: Log, transport: asyncio.Transport, error: Exception | None) -> None:
    """Log that a connection is closed, after the error that ended it if there was one."""
    if error is not None:
        log.line(f"error {descriptor(transport)} {error.strerror if isinstance(error, OSError) else error}")
    log.closed(descriptor(transport))
