"""The connections of a job: everything about them that is not the fast path of ``short`` and ``keepalive``.

A job has a fixed number of places for connections. What goes wrong is counted by kind, and its place pauses for a
moment before it is used again: a server that refuses at once would otherwise get nothing but connects.
"""

import errno
import ipaddress
import itertools
import os
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from harness.loadgen import dated, reuse, stdio
from harness.loadgen.messages import Job, Measured, Times
from harness.loadgen.stdio import HarnessGone
from harness.schema import NO_LOCAL_PORT

CONNECT: Final = "connect"
RESET: Final = "reset"
CLOSED_EARLY: Final = "closed early"
WRONG_REPLY: Final = "wrong reply"
NOT_CLOSED: Final = "not closed"
TIMEOUT: Final = "timeout"
NO_SOCKET: Final = "no socket"

PAUSE_NS = 10_000_000
"""How long a place pauses after an error."""
CLOSED_WITHIN_S = 1.0
"""How long a server may take to close the connections that a job has kept open."""
MAX_READ = 262_144
TIMES_KEPT: Final = 16_384
"""How many replies' times wait until they are handed on. Usual slices have fewer: within them the harness sleeps."""

HANDSHAKE_OVER: Final = select.EPOLLOUT
"""Part of all events of a connection that is watched for edges, as it stays writable."""

_STDIN = 0
_NS_PER_S = 1_000_000_000
_NON_BLOCKING = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_KINDS = {
    errno.ECONNREFUSED: CONNECT,
    errno.EHOSTUNREACH: CONNECT,
    errno.ENETUNREACH: CONNECT,
    errno.EADDRNOTAVAIL: NO_LOCAL_PORT,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
}


Reuse = Literal["no", "at once", "later"]
"""Whether the socket of a connection is connected again, and if so, right after its end or when an event allows it."""


class Target(NamedTuple):
    """Where connections go, and what is sent on them."""

    family: socket.AddressFamily
    address: tuple[str, int]
    request: bytes
    is_loopback: bool
    """Whether the handshake is over when connect returns: loopback delivers in the sender's context."""
    socket_address: bytes
    """The address for ``reuse.connect``."""


class Connections:
    """The open connections of a job, their replies, and what went wrong.

    The fast paths read and write ``started_ns``, ``connecting``, ``completed_ns`` and ``latency_ns`` as well.
    """

    def __init__(self, job: Job, epoll: select.epoll, events: int, *, until_end: bool) -> None:
        """Watch connections for ``events``; with ``until_end`` a reply is complete when its stream has ended, too."""
        self.started_ns: dict[int, int] = {}
        """Descriptor to the start of its request, for all connections that something is expected of."""
        self.received: dict[int, int] = {}
        """How much has come of replies that are not complete."""
        self._last_byte_ns: dict[int, int] = {}
        """When those were complete whose stream has not ended yet."""
        self.connecting: dict[int, bytes] = {}
        """Those whose handshake is under way, and what is sent when it is over."""
        self.requests: dict[int, bytes] = {}
        """What is sent on those that are kept, again and again."""
        self.completed_ns = array("Q")
        self.latency_ns = array("Q")
        self.errors: Counter[str] = Counter()
        targets = [_target(*target) for target in job.targets]
        self.targets = itertools.cycle(targets)
        self.reuse = _reuse(targets)
        """What the fast path of ``short`` may do with the sockets of ended connections."""
        self.reply = job.reply
        """What a reply is expected to be; where it has a date, with the one that came last."""
        self._date = dated.date_in(job.reply)
        self.read_size = min(len(job.reply) + 1, MAX_READ)
        """One byte more than the reply, so that one byte too many is seen."""
        self.handshake_events = events | HANDSHAKE_OVER | select.EPOLLET if until_end else HANDSHAKE_OVER
        """What a connection is watched for from its handshake on; kept ones just for its end."""
        self.end_ns = 0
        """When the job begins no more requests; before its clock has started that is at once."""
        self._deadline_ns = 0
        self._started_ns = 0
        self._cpu_ns = 0
        self._job = job
        self._epoll = epoll
        self._events = events
        self._until_end = until_end
        self._paused = 0
        self._resume_ns = 0
        epoll.register(_STDIN, 0)  # With no events asked for, only its hang-up is reported.

    def start_clock(self) -> int:
        """Let the time of the job begin, and return when that was."""
        self._cpu_ns = time.process_time_ns()
        self._started_ns = time.monotonic_ns()
        self.end_ns = self._started_ns + round(self._job.duration_s * _NS_PER_S)
        self._deadline_ns = self.end_ns + round(self._job.timeout_s * _NS_PER_S)
        return self._started_ns

    def finish(self) -> Measured:
        """Stop the clock, and give up the connections that are late; those with nothing due stay open."""
        ended_ns = time.monotonic_ns()
        cpu_ns = time.process_time_ns() - self._cpu_ns
        self.abandon()
        self._hand_on()
        return Measured(started_ns=self._started_ns, ended_ns=ended_ns, cpu_ns=cpu_ns, errors=dict(self.errors))

    def bound(self) -> None:
        """Hand on the times when there are many. Loops do it each turn, so memory does not grow with a job."""
        if len(self.completed_ns) >= TIMES_KEPT:
            self._hand_on()

    def forget_replies(self) -> None:
        """Begin to count anew; errors stay."""
        del self.completed_ns[:], self.latency_ns[:]

    def _hand_on(self) -> None:
        stdio.write(self._times())
        self.forget_replies()

    def _times(self) -> Times:
        return Times(completed_ns=self.completed_ns.tobytes(), latency_ns=self.latency_ns.tobytes())

    def close(self) -> None:
        """End the connections that are still open, and wait until the server has ended them too.

        So its work for them is done when the next server has its turn on the same CPU.
        """
        connections = [socket.socket(fileno=fd) for fd in self.requests]
        for connection in connections:
            with suppress(OSError):  # it is reset
                connection.shutdown(socket.SHUT_WR)
        deadline_s = time.monotonic() + CLOSED_WITHIN_S
        for connection in connections:
            with connection, suppress(OSError):  # it is late, or reset
                connection.settimeout(max(0.001, deadline_s - time.monotonic()))
                while connection.recv(MAX_READ):
                    pass

    def under_way(self, now_ns: int) -> bool:
        """Tell whether the job goes on: until its end, and then until the last reply or the time limit."""
        return now_ns < self.end_ns or (bool(self.started_ns) and now_ns < self._deadline_ns)

    def resumed(self, now_ns: int) -> int:
        """Return how many places have paused long enough, and take them as used again."""
        if not self._paused or now_ns < self._resume_ns:
            return 0
        places, self._paused = self._paused, 0
        return places

    def wait_s(self, now_ns: int) -> float:
        """Return how long to wait for events before the clock has to be looked at again."""
        until_ns = self.end_ns if now_ns < self.end_ns else self._deadline_ns
        if self._paused:
            until_ns = min(until_ns, max(self._resume_ns, now_ns))
        return max(until_ns - now_ns, 0) / _NS_PER_S

    # Opening

    def open(self) -> None:
        """Open a connection to the next target; ``handle`` goes on when its handshake is over."""
        family, address, request, *_ = next(self.targets)
        try:
            # As in the fast path, a bare socket.
            connection = socket.SocketType(family, _NON_BLOCKING, 0)
        except OSError:
            self.no_socket()
            return
        result = connection.connect_ex(address)
        fd = connection.detach()
        self.started_ns[fd] = time.monotonic_ns()
        if result in (0, errno.EINPROGRESS):
            self._await_handshake(fd, request)
        else:
            self.fail(fd, result)

    def not_sent(self, fd: int, request: bytes, connect_result: int, write_error: OSError) -> None:
        """Find out why a request could not be written right after the connect began."""
        if connect_result not in (0, errno.EINPROGRESS):
            self.fail(fd, connect_result)
        elif isinstance(write_error, BlockingIOError):
            self._await_handshake(fd, request)
        else:
            self.fail(fd, write_error.errno)

    def no_socket(self) -> None:
        """Count that there are no descriptors or no memory for a socket."""
        self._count(NO_SOCKET)

    def _await_handshake(self, fd: int, request: bytes) -> None:
        self.connecting[fd] = request
        self._epoll.register(fd, self.handshake_events)

    def send_first(self, fd: int) -> None:
        """Begin with the requests of a connection that is kept."""
        self.started_ns[fd] = time.monotonic_ns()
        try:
            os.write(fd, self.requests[fd])
            self._epoll.register(fd, self._events)
        except OSError as error:
            self.fail(fd, error.errno)

    def rest(self, fd: int) -> None:
        """Expect nothing more of a connection that is kept, not even its end."""
        self._epoll.unregister(fd)
        self.started_ns.pop(fd, None)

    # Events

    def handle(self, fd: int, event: int) -> bool:
        """Take an event that the fast path does not know. Tell whether it made a reply complete.

        Raises HarnessGone when the event says so.
        """
        if fd == _STDIN:
            raise HarnessGone
        if fd not in self.started_ns:
            return False  # a socket that was disconnected, and waits to be connected again
        try:
            if fd in self.connecting and not event & _BROKEN:
                self._connected(fd)
                return False
            # On a connection that broke the read reports why; one whose handshake failed has nothing else to read.
            return self.take(fd, os.read(fd, self.read_size), event)
        except OSError as error:
            self.fail(fd, error.errno)
            return False

    def take(self, fd: int, data: bytes, event: int) -> bool:
        """Compare what was read after ``event`` with what is due. Tell whether the reply is complete, and counted."""
        have = self.received.get(fd, 0)
        if not data:
            if self._until_end and have == len(self.reply):
                self._complete(fd)
                return True
            self._fail(fd, CLOSED_EARLY)
        elif not self._is_due(data, have):
            self._fail(fd, WRONG_REPLY)
        elif self._until_end or have + len(data) < len(self.reply):
            if event & HANDSHAKE_OVER:
                # It is watched for edges, and the one that told of what is left unread, or of the end, may be this.
                self._epoll.modify(fd, self._events)
            self.received[fd] = have + len(data)
            if have + len(data) == len(self.reply):
                self._last_byte_ns[fd] = time.monotonic_ns()
        else:
            self._complete(fd)
            return True
        return False

    def _is_due(self, data: bytes, have: int) -> bool:
        """Tell whether these are the bytes of the reply from ``have`` on. A whole one with another date is due next."""
        if self.reply.startswith(data, have):
            return True
        if not dated.agrees(data, have, self.reply, self._date):
            return False
        if len(data) == len(self.reply):
            self.reply = data
        return True

    def _connected(self, fd: int) -> None:
        request = self.connecting.pop(fd)
        if self._until_end:
            # No longer for edges: where the server spoke first, the edge of its reply is this one.
            self._epoll.modify(fd, self._events)
            os.write(fd, request)
            return
        self.requests[fd] = request
        self.rest(fd)
        self.opened(fd)

    def opened(self, fd: int) -> None:
        """Use a connection that is kept, when it is open: at once, in the time of the job."""
        if time.monotonic_ns() < self.end_ns:
            self.send_first(fd)

    def _complete(self, fd: int) -> None:
        completed_ns = self._last_byte_ns.pop(fd, 0) or time.monotonic_ns()
        self.completed_ns.append(completed_ns)
        self.latency_ns.append(completed_ns - self.started_ns.pop(fd))
        self.received.pop(fd, None)

    # The end of a connection

    def fail(self, fd: int, number: int | None) -> None:
        """Close a connection and count what its error number stands for."""
        self._fail(fd, _kind(number))

    def abandon(self) -> None:
        """Close what is still expected of, at the time limit, and count what each has failed to do."""
        for fd in list(self.started_ns):
            self._fail(fd, TIMEOUT if fd in self.connecting else self._missing(fd))

    def _missing(self, fd: int) -> str:
        """Look at what came without the end that was waited for."""
        try:
            data = os.read(fd, self.read_size)
        except BlockingIOError:
            data = b""
        except OSError as error:
            return _kind(error.errno)
        have = self.received.get(fd, 0)
        if not self._is_due(data, have):
            return WRONG_REPLY
        return NOT_CLOSED if have + len(data) == len(self.reply) else TIMEOUT

    def _fail(self, fd: int, kind: str) -> None:
        self._count(kind)
        self.started_ns.pop(fd, None)
        self.requests.pop(fd, None)
        self.connecting.pop(fd, None)
        self.received.pop(fd, None)
        self._last_byte_ns.pop(fd, None)
        os.close(fd)

    def _count(self, kind: str) -> None:
        self.errors[kind] += 1
        if not self._paused:
            self._resume_ns = time.monotonic_ns() + PAUSE_NS
        self._paused += 1


def _target(host: str, port: int) -> Target:
    is_ipv6 = ":" in host
    name = f"[{host}]:{port}" if is_ipv6 else f"{host}:{port}"
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    socket_address = reuse.socket_address(family, host, port)
    return Target(family, (host, port), request, ipaddress.ip_address(host).is_loopback, socket_address)


def _reuse(targets: Sequence[Target]) -> Reuse:
    """Tell whether any socket of a job can be connected again to the next target, and when."""
    if len({(target.family, target.is_loopback) for target in targets}) != 1:
        return "no"
    return "at once" if targets[0].is_loopback else "later"


def _kind(number: int | None) -> str:
    return _KINDS.get(number or 0) or os.strerror(number or errno.EIO).lower()
