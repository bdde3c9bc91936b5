"""The lines that the parent prints every second."""

from collections.abc import Iterator, Sequence

from impls import counters
from impls.counters import Row

_TOLD_BRIEFLY = (counters.REQUESTS,)


class Statistics:
    """Turns counters that only grow into figures of the last second."""

    def __init__(self, rows: Sequence[Row], own_row: Row, cpus: Sequence[int], *, verbose: bool) -> None:
        """``rows`` are the workers', ``own_row`` is their parent's, who has no line: worker 0's tells of its errors."""
        self._rows = rows
        self._own_row = own_row
        self._cpus = cpus
        self._verbose = verbose
        self._before = [list(row) for row in (*rows, own_row)]

    def lines(self) -> Iterator[str]:
        """Yield the lines for the second since the last call: workers' with -v, then the total."""
        requests = 0
        own = list(self._own_row)
        own_errors = [own[slot] - self._before[-1][slot] for slot in counters.ERRORS.values()]
        self._before[-1] = own
        for i, row in enumerate(self._rows):
            now = list(row)
            row[counters.EVENTS_MIN] = counters.NO_MINIMUM
            row[counters.EVENTS_MAX] = 0
            delta = [a - b for a, b in zip(now, self._before[i], strict=True)]
            self._before[i] = now
            requests += delta[counters.REQUESTS]
            if i == 0:
                for slot, errors in zip(counters.ERRORS.values(), own_errors, strict=True):
                    delta[slot] += errors
            if self._verbose:
                yield f"worker {i} cpu {self._cpus[i]} {_describe(delta, now)}"
        # A count and not a rate, so that the seconds add up to what was answered.
        yield f"Request/s {requests}"

    def rest(self) -> Iterator[str]:
        """Yield the lines for what has happened since the last ones, if anything that they tell of.

        Polls do not count: to be told to stop is one.
        """
        told = (counters.REQUESTS, counters.ACCEPTED, *counters.ERRORS.values()) if self._verbose else _TOLD_BRIEFLY
        rows = (*self._rows, self._own_row)
        if any(row[slot] > before[slot] for row, before in zip(rows, self._before, strict=True) for slot in told):
            yield from self.lines()


def _describe(delta: list[int], now: list[int]) -> str:
    busy_polls = delta[counters.POLLS] - delta[counters.EMPTY_POLLS]
    if busy_polls > 0:
        mean = delta[counters.EVENTS] / busy_polls
        # An extreme may have been lost to the race that counters.py tells of; then the mean bounds it.
        events = f"{min(now[counters.EVENTS_MIN], int(mean))}/{mean:.1f}/{max(now[counters.EVENTS_MAX], int(mean))}"
    else:
        events = "-/-/-"
    errors = " ".join(f"{kind}={delta[slot]}" for kind, slot in counters.ERRORS.items())
    return (
        f"requests {delta[counters.REQUESTS]} accepted {delta[counters.ACCEPTED]} "
        f"events/poll {events} empty_polls {delta[counters.EMPTY_POLLS]} "
        f"local_accepts {delta[counters.LOCAL_ACCEPTS]}/{delta[counters.SAMPLED_ACCEPTS]} "
        f"local_backends {delta[counters.LOCAL_BACKENDS]}/{delta[counters.SAMPLED_BACKENDS]} errors {errors}"
    )
