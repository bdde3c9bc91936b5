"""Request after request on connections that stay open: the workload ``keepalive``.

Why this looks as it does
-------------------------
An exchange costs write, read and a share of epoll_wait, 7 µs in all with the kernel's part: a tenth of a microsecond
counts. So the loop works on bare descriptors and local names, reads the clock once a request (the end of one is the
beginning of the next, with nothing but its bookkeeping between), and leaves what is not one whole reply in one read
to ``Connections``. Level-triggered and edge-triggered made no difference in the rate; so it is the simpler one.
``harness crosscheck`` measures again.
"""

import os
import select
import time

from harness.loadgen.connections import Connections
from harness.loadgen.messages import Job, Measured

BATCH = 32
"""Events a turn."""


def prepare(job: Job, epoll: select.epoll) -> Connections:
    """Open the connections of a job, with one exchange on each, within the time limit of a reply.

    The end of a handshake says that the kernel has the connection; a reply, that the server has accepted it, too.
    Raises HarnessGone when nobody waits for the outcome any more.
    """
    connections = Connections(job, epoll, select.EPOLLIN, until_end=False)
    open_all(job, epoll, connections)
    return connections


def open_all(job: Job, epoll: select.epoll, connections: Connections) -> None:
    """Do what ``prepare`` says."""
    deadline_s = time.monotonic() + job.timeout_s
    for _ in range(job.concurrency):
        connections.open()
    while connections.connecting and (left_s := deadline_s - time.monotonic()) > 0:
        for fd, event in epoll.poll(left_s):
            connections.handle(fd, event)
    for fd in list(connections.requests):
        connections.send_first(fd)
    while connections.started_ns and (left_s := deadline_s - time.monotonic()) > 0:
        for fd, event in epoll.poll(left_s):
            if connections.handle(fd, event):
                connections.rest(fd)
    connections.abandon()
    connections.forget_replies()


def run(job: Job, epoll: select.epoll, connections: Connections) -> Measured:  # noqa: C901, PLR0912  as in short.py
    """Run a job on its connections. Raises HarnessGone when nobody waits for its outcome any more."""
    started_ns, received, requests = connections.started_ns, connections.received, connections.requests
    size, reply, readable = connections.read_size, job.reply, select.EPOLLIN
    completed, latency = connections.completed_ns.append, connections.latency_ns.append
    now, read, write, poll = time.monotonic_ns, os.read, os.write, epoll.poll

    now_ns = connections.start_clock()
    end_ns = connections.end_ns
    for fd in list(requests):
        connections.send_first(fd)
    while connections.under_way(now_ns):
        connections.bound()
        if now_ns < end_ns:
            for _ in range(connections.resumed(now_ns)):
                connections.open()
        for fd, event in poll(connections.wait_s(now_ns), BATCH):
            try:
                if event == readable:
                    data = read(fd, size)
                    # The first part of a reply and then a whole one is no correct reply.
                    if data == reply and fd not in received:
                        now_ns = now()
                        completed(now_ns)
                        latency(now_ns - started_ns[fd])
                    elif connections.take(fd, data, event):
                        reply = connections.reply
                        now_ns = now()
                    else:
                        continue
                elif connections.handle(fd, event):
                    now_ns = now()
                else:
                    continue
                if now_ns < end_ns:
                    started_ns[fd] = now_ns
                    write(fd, requests[fd])
                else:
                    connections.rest(fd)
            except OSError as error:
                connections.fail(fd, error.errno)
        now_ns = now()
    return connections.finish()
