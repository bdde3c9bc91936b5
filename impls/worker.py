"""The seam of an implementation: everything that ``serve(worker)`` gets, ready-made."""

from collections.abc import Callable
from dataclasses import dataclass

from impls.contract import Options
from impls.counters import Row
from impls.listeners import Listeners
from impls.log import Log
from impls.orders import Orders


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process, already forked and bound to its CPU."""

    index: int
    cpu: int
    listeners: Listeners
    """Listening, non-blocking, inherited from the parent; shared with the other workers unless the listen mode gives
    each its own (``Options.listeners_apart``). A replaced worker had the same ones, with what waits in their queues.
    After the order to stop each is to be emptied, and then closed by ``listeners.close_empty``."""
    options: Options
    max_connections: int
    """With so many clients' connections it accepts no more until there is room; the open files suffice for them."""
    counters: Row
    """This worker's slots; see ``impls.counters``."""
    log: Log
    orders: Orders
    """To be obeyed whenever it is readable."""


Serve = Callable[[Worker], None]
"""Serves until it is ordered to stop, and returns when what was under way has finished."""
