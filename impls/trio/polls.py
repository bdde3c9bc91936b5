"""What ``-v`` shows of trio's loop."""

import trio

from impls import counters
from impls.counters import Row


class PollCounter(trio.abc.Instrument):
    """Counts the tasks that each poll wakes, which is its events: a task waits for one at a time.

    Trio wakes them between ``before_io_wait`` and ``after_io_wait``; a task that becomes runnable at
    another time was not woken by the poll.
    """

    __slots__ = ("_row", "_woken")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._woken = 0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  trio's signature
        """Begin to count."""
        self._woken = 0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  trio's signature
        """Count a task that became runnable."""
        self._woken += 1

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  trio's signature
        """Record the poll."""
        counters.record_poll(self._row, self._woken)
