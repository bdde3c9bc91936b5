"""Accepting on raw descriptors, for both modes."""

import socket
from collections.abc import Callable

from impls import counters
from impls.worker import Worker


def acceptor(worker: Worker, listener: socket.socket) -> Callable[[], int | None]:
    """Make the function that accepts one connection, as the original does at each event.

    It returns the connection's descriptor (blocking), or None when there is none to accept.
    """
    row, log, debug = worker.counters, worker.log, worker.options.debug
    # What socket.accept is built on: it returns a bare descriptor instead of a new socket object.
    accept_one: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001

    def accept() -> int | None:
        try:
            fd, peer = accept_one()
        except BlockingIOError:
            return None  # another worker was faster
        except OSError as error:
            row[counters.ERROR_ACCEPT] += 1
            log.problem(f"accept: {error.strerror}")
            return None
        row[counters.ACCEPTED] += 1
        if debug:
            log.accepted(fd, peer)
        return fd

    return accept
