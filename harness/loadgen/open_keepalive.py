"""The open loop of ``keepalive``: requests on connections that stay open, begun when they are due.

A request takes the connection that has been free for the longest time: so all of them are used, as by as many clients,
and not just the few that would do. While none is free, requests wait in the line, which is the schedule itself as in
``open_short``.
"""

import os
import select
import time
from collections import deque

from harness.loadgen import keepalive
from harness.loadgen.connections import CLOSED_EARLY, WRONG_REPLY
from harness.loadgen.messages import Job, Measured
from harness.loadgen.open_loop import BATCH, TimedConnections
from harness.loadgen.timer import Timer


class KeptConnections(TimedConnections):
    """Connections that stay open, and which of them are free."""

    def __init__(self, job: Job, epoll: select.epoll) -> None:
        """Watch connections for what comes."""
        super().__init__(job, epoll, select.EPOLLIN, until_end=False)
        self.free: deque[int] = deque()
        """The one that has been free for the longest time first."""

    def start_clock(self) -> int:
        """Take all connections as free, let the time of the job begin, and return when that was."""
        for fd in self.requests:
            self._set_free(fd)
        return super().start_clock()

    def lose(self, fd: int) -> None:
        """Close a free connection that has something to say: its end, a reset, or more than was asked for."""
        self.free.remove(fd)
        try:
            self._fail(fd, WRONG_REPLY if os.read(fd, 1) else CLOSED_EARLY)
        except OSError as error:
            self.fail(fd, error.errno)

    def opened(self, fd: int) -> None:
        """Take a connection that was opened in place of a lost one as free."""
        if self.end_ns:
            self._set_free(fd)

    def _set_free(self, fd: int) -> None:
        self._epoll.register(fd, self._events)
        self.free.append(fd)


def prepare(job: Job, epoll: select.epoll) -> KeptConnections:
    """Open the connections of a job, as for the closed loop."""
    connections = KeptConnections(job, epoll)
    keepalive.open_all(job, epoll, connections)
    return connections


def run(job: Job, epoll: select.epoll, connections: KeptConnections) -> Measured:  # noqa: C901, PLR0912, PLR0915  as in short.py
    """Run a job on its connections. Raises HarnessGone when nobody waits for its outcome any more."""
    started_ns, received, requests = connections.started_ns, connections.received, connections.requests
    size, reply, readable, free = connections.read_size, job.reply, select.EPOLLIN, connections.free
    completed, latency = connections.completed_ns.append, connections.latency_ns.append
    first_byte, late = connections.first_byte_ns.append, connections.late_ns.append
    now, read, write, poll = time.monotonic_ns, os.read, os.write, epoll.poll

    with Timer(epoll) as timer:
        free_since_ns = now_ns = connections.start_clock()
        end_ns = connections.end_ns
        schedule = connections.arrivals()
        due_ns = next(schedule)
        while connections.goes_on(now_ns, due_ns):
            connections.bound()
            for _ in range(connections.resumed(now_ns)):
                connections.open()
            for _ in range(min(len(free), BATCH)):
                if due_ns > now_ns or due_ns >= end_ns:
                    break
                fd = free.popleft()
                now_ns = now()
                if due_ns >= free_since_ns:
                    late(now_ns - due_ns)
                started_ns[fd] = due_ns
                due_ns = next(schedule)
                try:
                    write(fd, requests[fd])
                except OSError as error:
                    connections.fail(fd, error.errno)
            none_free = not free
            if free and due_ns < end_ns:
                timer.set(due_ns)
            for fd, event in poll(connections.wait_s(now_ns), BATCH):
                try:
                    if fd in started_ns:
                        if event != readable:
                            if not connections.handle(fd, event):
                                continue
                        elif (data := read(fd, size)) == reply and fd not in received:
                            now_ns = now()
                            was_due_ns = started_ns.pop(fd)
                            completed(now_ns)
                            latency(now_ns - was_due_ns)
                            first_byte(now_ns - was_due_ns)
                        elif connections.take(fd, data, event):
                            reply = connections.reply
                        else:
                            continue
                        free.append(fd)
                    elif fd in requests:
                        connections.lose(fd)
                    elif fd != timer.fd:
                        connections.handle(fd, event)
                except OSError as error:
                    connections.fail(fd, error.errno)
            now_ns = now()
            if none_free:
                free_since_ns = now_ns
        return connections.conclude(due_ns, schedule)
