"""The open loop of ``short`` and ``proxy``: a connection for each request, begun when the request is due.

No more connections than the job allows are open at a time; while no place for one is free, requests wait in the line.
The schedule itself is that line: a request is drawn from it when there is a place. The rest is as in ``short``, whose
docstring says why.
"""

import os
import select
import socket
import time
from errno import EINPROGRESS

from harness.loadgen.connections import HANDSHAKE_OVER
from harness.loadgen.messages import Job, Measured
from harness.loadgen.open_loop import BATCH, TimedConnections
from harness.loadgen.short import ENDED, NON_BLOCKING
from harness.loadgen.timer import Timer

_ENDED_EDGE = ENDED | HANDSHAKE_OVER


def prepare(job: Job, epoll: select.epoll) -> TimedConnections:
    """Get ready to run a job."""
    return TimedConnections(job, epoll, ENDED, until_end=True)


def run(job: Job, epoll: select.epoll, connections: TimedConnections) -> Measured:  # noqa: C901, PLR0912, PLR0915  as in short.py
    """Run one job. Raises HarnessGone when nobody waits for its outcome any more."""
    started_ns, received, size, reply = connections.started_ns, connections.received, connections.read_size, job.reply
    connecting, connected_ns = connections.connecting, connections.connected_ns
    completed, latency = connections.completed_ns.append, connections.latency_ns.append
    connect, first_byte, late = (
        connections.connect_ns.append,
        connections.first_byte_ns.append,
        connections.late_ns.append,
    )
    next_target, open_socket = connections.targets.__next__, socket.SocketType
    now, read, write, close, poll, register = time.monotonic_ns, os.read, os.write, os.close, epoll.poll, epoll.register

    with Timer(epoll) as timer:
        free, freed = 0, job.concurrency
        free_since_ns = now_ns = connections.start_clock()
        end_ns = connections.end_ns
        schedule = connections.arrivals()
        due_ns = next(schedule)
        while connections.goes_on(now_ns, due_ns):
            connections.bound()
            if not free:
                free_since_ns = now_ns
            free += freed + connections.resumed(now_ns)
            for _ in range(min(free, BATCH)):
                if due_ns > now_ns or due_ns >= end_ns:
                    break
                free -= 1
                was_due_ns, due_ns = due_ns, next(schedule)
                now_ns = now()
                if was_due_ns >= free_since_ns:
                    late(now_ns - was_due_ns)
                family, address, request, is_loopback, _ = next_target()
                try:
                    connection = open_socket(family, NON_BLOCKING, 0)
                except OSError:
                    connections.no_socket()
                    continue
                result = connection.connect_ex(address)
                fd = connection.detach()
                started_ns[fd] = was_due_ns
                try:
                    if is_loopback or result != EINPROGRESS:
                        connected_ns[fd] = now()
                        write(fd, request)
                        register(fd, ENDED)
                    else:
                        connecting[fd] = request
                        register(fd, connections.handshake_events)
                except OSError as error:
                    connections.not_sent(fd, request, result, error)
            if free and due_ns < end_ns:
                timer.set(due_ns)
            freed = 0
            for fd, event in poll(connections.wait_s(now_ns), BATCH):
                if event == ENDED or (event == _ENDED_EDGE and fd not in connecting):
                    try:
                        data = read(fd, size)
                    except OSError as error:
                        connections.fail(fd, error.errno)
                        continue
                    if data == reply and fd not in received:
                        now_ns = now()
                        was_due_ns = started_ns.pop(fd)
                        completed(now_ns)
                        latency(now_ns - was_due_ns)
                        first_byte(now_ns - was_due_ns)
                        connect(connected_ns.pop(fd) - was_due_ns)
                    elif not connections.take(fd, data, event):
                        reply = connections.reply
                        continue
                elif event == HANDSHAKE_OVER:
                    if fd in connecting:
                        connected_ns[fd] = now()
                        try:
                            write(fd, connecting.pop(fd))
                        except OSError as error:
                            connections.fail(fd, error.errno)
                    continue
                elif fd == timer.fd or not connections.handle(fd, event):
                    continue
                close(fd)
                freed += 1
            now_ns = now()
        return connections.conclude(due_ns, schedule)
