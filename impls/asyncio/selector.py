"""The loop's selector, which asyncio takes from us: for what ``-v`` shows, and for ``--listen exclusive``."""

import select
import selectors
from typing import Any

from impls import counters
from impls.worker import Worker


def make(worker: Worker) -> selectors.EpollSelector:
    """Make the library's own where that does, since each look into it costs every connection something."""
    verbose = worker.options.verbose
    if worker.options.listen_mode == "exclusive":
        return _CountedExclusive(worker) if verbose else _Exclusive(worker)
    return _Counted(worker) if verbose else selectors.EpollSelector()


class _Counted(selectors.EpollSelector):
    """Counts polls, and the descriptors that each reports as ready.

    The loop polls without waiting while it has callbacks to run, such as those of new connections: so some are empty.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._row = worker.counters

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll, and record what came of it."""
        ready = super().select(timeout)
        counters.record_poll(self._row, len(ready))
        return ready


class _Exclusive(selectors.EpollSelector):
    """Has the kernel wake no more of the workers that share a listener than it has to."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._listeners = {listener.fileno() for listener in worker.listeners}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Register as ever, and a listener with EPOLLEXCLUSIVE; the kernel takes that only when one is added."""
        key = super().register(fileobj, events, data)
        if key.fd in self._listeners:
            epoll: select.epoll = self._selector  # type: ignore[attr-defined]  # it has no public name
            epoll.unregister(key.fd)
            epoll.register(key.fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        return key


class _CountedExclusive(_Counted, _Exclusive):
    """Both."""
