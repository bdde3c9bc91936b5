"""A connection for each request: the workloads ``short`` and ``proxy``.

Why this looks as it does
-------------------------
On one core some 20 thousand of these exchanges fit in a second, 50 µs each, nearly all of it spent in the kernel on
both sides of the loopback device. What this file can save is the kernel's work for sockets, system calls, objects and
sleeps. An exchange costs connect, write, read, shutdown, ioctl, connect, and a share of epoll_wait. Each trick below
says what it gains, in requests per second of the generator's CPU time; ``harness crosscheck`` measures it again.

A socket is used for one connection after the other (``reuse.py``), instead of socket, epoll_ctl and close, for which
the kernel makes and destroys a socket, a file and an epoll entry: that took the ratio to ab from 1.15 (1.08 to 1.23)
to 1.40 (1.30 to 1.49) on loopback, and from 1.00 to 1.25 (1.17 to 1.34) in netns. What goes another way than most is
closed, and opened anew.

Where the handshake takes longer than connect does, between hosts or network namespaces, a write right after it would
only fail, and the way from there to the reply would be a long one. So a connection to an address that is not loopback
is registered once, for the edges of all that it has to tell; an exchange costs one more event and no further
epoll_ctl: + 20 %, measured with a new socket for each. The first event says that the handshake is over, the next, as a
rule, that reply and end have come. Nothing is lost to the edges: what does not go that way is watched level-triggered
from then on, and epoll_ctl(2) looks anew at what is there.

The server closes first, so that TIME_WAIT stays on its side: here it would use up the local ports. A request is
therefore correct when the whole reply *and* the end of its stream have come; its latency is up to the last byte.
"""

import os
import select
import socket
import time
from errno import EINPROGRESS

from harness.loadgen import reuse
from harness.loadgen.connections import HANDSHAKE_OVER, Connections
from harness.loadgen.messages import Job, Measured

BATCH = 32
"""Events a turn. From 16 to 100 the rate is the same; with a small batch a reply waits less behind others, and server
and generator work at the same time."""

ENDED = select.EPOLLIN | select.EPOLLRDHUP
"""The reply and its end have come."""
NON_BLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


def prepare(job: Job, epoll: select.epoll) -> Connections:
    """Get ready to run a job."""
    # EPOLLRDHUP says that the peer's FIN has come, and TCP delivers in order, so all data has come before it. Where
    # both have come by the time of the poll, as they mostly have under load, one read returns exactly the reply: the
    # read that returns the end itself is known to return just that, and left out.
    return Connections(job, epoll, ENDED, until_end=True)


def run(job: Job, epoll: select.epoll, connections: Connections) -> Measured:  # noqa: C901, PLR0912, PLR0915  the hot path: calls would cost more than they explain
    """Run one job. Raises HarnessGone when nobody waits for its outcome any more."""
    started_ns, received, size, reply = connections.started_ns, connections.received, connections.read_size, job.reply
    completed, latency = connections.completed_ns.append, connections.latency_ns.append
    next_target, connecting, handshake_events = (
        connections.targets.__next__,
        connections.connecting,
        connections.handshake_events,
    )
    ended, ended_edge, handshake_over = ENDED, ENDED | HANDSHAKE_OVER, HANDSHAKE_OVER
    # Sockets whose reply is complete, whose connection has ended, and those that can be connected again.
    complete: list[int] = []
    ending: set[int] = set()
    spare: list[int] = []
    connect, end, renew = reuse.connect, reuse.end, reuse.renew
    add_complete, add_spare, take_spare = complete.append, spare.append, spare.pop
    at_once = connections.reuse == "at once"
    # All are watched for edges, as a new connection must not bring the events of the last one. One that went a long
    # way is not, or on loopback tells more than others.
    reusable = {"at once": ended, "later": ended_edge, "no": None}[connections.reuse]
    watched, edge = (ended | select.EPOLLET, handshake_over) if at_once else (ended, 0)
    # A bare socket and not socket.socket, whose constructor is written in Python; and with all three arguments,
    # as without the protocol it asks the kernel for it.
    open_socket, non_blocking = socket.SocketType, NON_BLOCKING
    now, read, write, close, poll, register = time.monotonic_ns, os.read, os.write, os.close, epoll.poll, epoll.register

    free = job.concurrency
    now_ns = connections.start_clock()
    end_ns = connections.end_ns
    while connections.under_way(now_ns):
        connections.bound()
        free = free + connections.resumed(now_ns) if now_ns < end_ns else 0
        # First all finished connections of a turn are read and closed, then as many are opened: + 10 % against one
        # for one. The kernel's code for either stays in the caches, and no reply waits for another's connect.
        for _ in range(free):
            family, address, request, is_loopback, socket_address = next_target()
            if spare:
                fd = take_spare()
                begun_ns = now()
                result = connect(fd, socket_address)
                started_ns[fd] = begun_ns
                try:
                    if is_loopback or result != EINPROGRESS:
                        write(fd, request)
                    else:
                        connecting[fd] = request
                except OSError as error:
                    epoll.unregister(fd)
                    connections.not_sent(fd, request, result, error)
                continue
            try:
                connection = open_socket(family, non_blocking, 0)
            except OSError:
                connections.no_socket()
                continue
            # Non-blocking, so that a server whose backlog is full does not stop the generator, and on loopback the
            # request is written at once: the handshake is over when connect returns, though it says EINPROGRESS.
            # Where it is not, not_sent waits for it. That saves the wait, an epoll_ctl and an event.
            begun_ns = now()
            result = connection.connect_ex(address)
            fd = connection.detach()
            started_ns[fd] = begun_ns
            try:
                if is_loopback or result != EINPROGRESS:
                    write(fd, request)
                    register(fd, watched)
                else:
                    connecting[fd] = request
                    register(fd, handshake_events)
            except OSError as error:
                connections.not_sent(fd, request, result, error)
        free = 0
        for fd, event in poll(connections.wait_s(now_ns), BATCH):
            # Data and end before the request was written, of a server that does not wait for it, go the long way.
            if event == ended or (event == ended_edge and fd not in connecting):
                try:
                    data = read(fd, size)
                except OSError as error:
                    connections.fail(fd, error.errno)
                    continue
                if data == reply and fd not in received:
                    ended_ns = now()
                    completed(ended_ns)
                    latency(ended_ns - started_ns.pop(fd))
                    if event == reusable and now_ns < end_ns:
                        add_complete(fd)
                        continue
                elif not connections.take(fd, data, event | edge):
                    reply = connections.reply
                    continue
            elif event == handshake_over:
                # The kernel may tell it twice, when it is polled between the change of state and its wake-up.
                if fd in connecting:
                    try:
                        write(fd, connecting.pop(fd))
                    except OSError as error:
                        connections.fail(fd, error.errno)
                continue
            elif fd in ending:
                if renew(fd):
                    ending.remove(fd)
                    add_spare(fd)
                continue
            elif not connections.handle(fd, event | edge):
                continue
            # Nothing is unregistered: a closed descriptor leaves its epoll set by itself (epoll(7), question 6).
            close(fd)
            free += 1
        # First all replies of a turn are read, then all their connections ended, then all sockets renewed: + 4 %
        # (2.7 to 6.1 %) against one for one on loopback, and no reply waits for another's shutdown to be read.
        for fd in complete:
            end(fd)
        for fd in complete:
            if at_once and renew(fd):
                add_spare(fd)
            else:
                ending.add(fd)
        free += len(complete)
        complete.clear()
        now_ns = now()
    measured = connections.finish()
    for fd in (*spare, *ending):
        close(fd)
    return measured
