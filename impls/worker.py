"""The seam of an implementation: everything that ``serve(worker)`` gets, ready-made."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from impls.contract import Options
from impls.counters import Row
from impls.log import Log


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process, already forked and bound to its CPU."""

    index: int
    cpu: int
    listeners: tuple[socket.socket, ...]
    """Listening, non-blocking, inherited from the parent and shared with the other workers."""
    options: Options
    counters: Row
    """This worker's slots; see ``impls.counters``."""
    log: Log


Serve = Callable[[Worker], None]
"""Serves until the process is ended by a signal."""
