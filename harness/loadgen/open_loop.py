"""What both open loops share: when requests are due, which times are taken, and what comes of those in the line.

A closed loop waits for a reply before it asks again. So a server that stalls is asked less meanwhile, and the time in
which requests would have had to wait is in nobody's latency: coordinated omission (Gil Tene, "How NOT to Measure
Latency"). In an open loop requests are due at times that were fixed before, whatever the server does, and all of a
request's times are counted from there. One that finds every connection in use, or the generator late, has waited.

Arrivals are a Poisson process: the gaps are exponential, with the mean that the rate says, and drawn from the job's
seed. Even gaps would be a clock that keeps step with others, such as the server's timers, the kernel's tick and the
other generators, and would meet the server idle nearly every time; users who know nothing of one another do not.
Several generators with a share of the rate and a seed each are together one Poisson process of the whole rate. With
the same seed two servers get the same requests at the same times. The number of requests is rate times duration in
expectation; its standard deviation is the root of that.

All requests that are due before the end of the job count. Those in the line are begun after it, too; what has no
reply at the time limit is a timeout, begun or not. So replies and errors together are what was due.
"""

import random
import select
import time
from array import array
from collections.abc import Iterator
from typing import Final

import msgspec

from harness.loadgen.connections import TIMEOUT, Connections
from harness.loadgen.messages import Job, Measured, Times

BATCH: Final = 32
"""Events a turn, and requests begun a turn: those of a burst do not hold up the replies."""

_NS_PER_S = 1_000_000_000


def arrivals(rate_rps: float, seed: int, start_ns: int) -> Iterator[int]:
    """Yield the times at which requests are due after ``start_ns``, in order and without end."""
    gap = random.Random(seed).expovariate
    per_ns = rate_rps / _NS_PER_S
    due_ns = float(start_ns)
    while True:
        due_ns += gap(per_ns)
        yield int(due_ns)


class TimedConnections(Connections):
    """Connections that keep the times of a reply's parts; ``started_ns`` is when the request was due."""

    def __init__(self, job: Job, epoll: select.epoll, events: int, *, until_end: bool) -> None:
        """As ``Connections``; those with ``until_end`` are one for each request, and their handshakes are timed."""
        super().__init__(job, epoll, events, until_end=until_end)
        self.connected_ns: dict[int, int] = {}
        """When the handshake was over, of those whose reply is not complete."""
        self.connect_ns = array("Q")
        self.first_byte_ns = array("Q")
        """Both from when the request was due, as ``latency_ns``, and in its order."""
        self.late_ns = array("Q")
        """How late each request was begun for which a connection was free when it was due."""
        self._began_ns: dict[int, int] = {}
        """When those replies began that came in pieces."""

    def arrivals(self) -> Iterator[int]:
        """Yield the times at which the job's requests are due, from the start of its clock on."""
        return arrivals(self._job.rate_rps or 0.0, self._job.seed, self._started_ns)

    def goes_on(self, now_ns: int, due_ns: int) -> bool:
        """Tell whether the job goes on, as ``under_way``, with a line that begins with a request due at ``due_ns``."""
        return self.under_way(now_ns) or (due_ns < self.end_ns and now_ns < self._deadline_ns)

    def conclude(self, due_ns: int, later: Iterator[int]) -> Measured:
        """Finish, and count those that were due and never begun: at ``due_ns`` and ``later``."""
        measured = self.finish()
        errors = dict(measured.errors)
        while due_ns < self.end_ns:
            errors[TIMEOUT] = errors.get(TIMEOUT, 0) + 1
            due_ns = next(later)
        return msgspec.structs.replace(measured, errors=errors)

    def forget_replies(self) -> None:
        """Begin to count anew; errors stay."""
        super().forget_replies()
        del self.connect_ns[:], self.first_byte_ns[:], self.late_ns[:]

    def _times(self) -> Times:
        return msgspec.structs.replace(
            super()._times(),
            connect_ns=self.connect_ns.tobytes(),
            first_byte_ns=self.first_byte_ns.tobytes(),
            late_ns=self.late_ns.tobytes(),
        )

    def take(self, fd: int, data: bytes, event: int) -> bool:
        """Compare what was read with what is due, as ``Connections``, and note when a reply begins."""
        if data and fd not in self.received:
            self._began_ns[fd] = time.monotonic_ns()
        return super().take(fd, data, event)

    def _connected(self, fd: int) -> None:
        if self._until_end:
            self.connected_ns[fd] = time.monotonic_ns()
        super()._connected(fd)

    def _complete(self, fd: int) -> None:
        due_ns = self.started_ns[fd]
        self.first_byte_ns.append(self._began_ns.pop(fd) - due_ns)
        if self._until_end:
            self.connect_ns.append(self.connected_ns.pop(fd) - due_ns)
        super()._complete(fd)

    def _fail(self, fd: int, kind: str) -> None:
        self.connected_ns.pop(fd, None)
        self._began_ns.pop(fd, None)
        super()._fail(fd, kind)
