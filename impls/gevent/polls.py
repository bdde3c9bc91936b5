"""What ``-v`` shows of gevent's loop."""

from typing import Any

from gevent.hub import get_hub

from impls import counters
from impls.counters import Row


def count_polls(row: Row) -> None:
    """Record each poll of this process's loop, and how many events it found.

    A check watcher is called after each poll (libev's manual, "ev_prepare and ev_check"), with the highest priority
    before all other watchers: those that are due then are the poll's events, timers that have run out among them.
    """
    loop: Any = get_hub().loop  # its stubs do not know priorities
    after_poll = loop.check(ref=False, priority=loop.MAXPRI)
    after_poll.start(lambda: counters.record_poll(row, loop.pendingcnt))
