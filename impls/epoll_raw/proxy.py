"""Proxy mode on raw epoll: the usual exchange.

Why this looks as it does
-------------------------
Most exchanges go one way: a request comes in one piece, the backend accepts, gets it, and sends a reply that says how
long it is, in one piece; then both connections are closed. For that an entry in a table is state enough, where a pair
that can be in any state costs objects and calls. Whatever goes another way becomes such a pair (``pairs.py``) with all
that is known of it, and stays one: a large request or reply, one that comes in pieces or does not say its length, a
client that sends more or ends its stream meanwhile, a backend that refuses, an exchange that is not over within some
tenths of a second. So no time limits are kept here, and those of a pair are counted from when it became one. With
``-k`` or ``-d`` all are pairs. When all are pairs without that, requests/s are 0.686 (0.627 to 0.744) of these.

A batch of events is worked off in steps: accept and read, then send requests, then send replies and close, then
connect. Packets of a kind leave one right after the other, and the CPU that receives them is interrupted once for many.

With ``--lean`` a client comes with its request, which is read at once.

What is closed within a batch is closed when all its events have been looked at, and nothing is opened before. So a
descriptor that is given out anew does not get its predecessor's event.

(``harness compare --impls epoll_raw --external other=COMMAND --workloads proxy --blocks 4 --budget 40s``, COMMAND a
copy that does as the sentence says; two-core virtual machine, Linux 6.18, netns, one worker; 95 % intervals.)
"""

import os
import select
import time
from collections.abc import Sequence

from impls import counters
from impls.backends import Backends
from impls.contract import RELAY_SIZE
from impls.epoll_raw import no_wait
from impls.epoll_raw.accept import MAX_EVENTS, Listeners
from impls.epoll_raw.backend_sockets import BackendSockets, Target
from impls.epoll_raw.pairs import ALL_EVENTS, READ_EVENTS, TICK_S, Pairs, Side
from impls.framing import is_one_reply, is_whole_request
from impls.worker import Worker

_Exchange = tuple[int, Sequence[Target], bytes, float]
"""The client's descriptor, the order in which backends are to be tried, the request, and when this step began."""

_BROKEN = select.EPOLLHUP | select.EPOLLERR


def relay(worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915  the hot path: a call per step would cost more than it explains
    """Relay between clients and backends until a signal ends the process."""
    options, row, verbose, lean = worker.options, worker.counters, worker.options.verbose, worker.options.lean
    only_pairs = options.keepalive or options.debug
    reads_at_once = lean and not only_pairs
    epoll = select.epoll()
    listeners = Listeners(worker, epoll)
    sockets = BackendSockets(options.backends, epoll, ALL_EVENTS, lean=lean)
    backends = Backends(sockets.targets, options.backend_rest_s, row)
    pairs = Pairs(worker, epoll, backends)
    usual = _Usual(sockets, backends, pairs)
    accepts, sides = listeners.accepts, pairs.sides
    asking, connecting, answering, backend_of = usual.asking, usual.connecting, usual.answering, usual.backend_of
    poll, register, read, write, close = epoll.poll, epoll.register, os.read, os.write, os.close
    read_now, write_now, reset = no_wait.reader(RELAY_SIZE), no_wait.writer(), sockets.reset
    readable, writable, broken = select.EPOLLIN, select.EPOLLOUT, _BROKEN
    next_tick_s = 0.0

    while True:
        wait_s = pairs.wait_s
        if wait_s < 0 and (connecting or answering or listeners.any_rests):
            wait_s = TICK_S
        events = poll(wait_s, MAX_EVENTS)
        now_s = time.monotonic()
        pairs.begin_turn(now_s)

        asked, connected, answered, accepted, unusual, ended = [], [], [], [], [], []
        for fd, event in events:
            if fd in answering and event & readable and not event & broken:
                answered.append((fd, event))
            elif fd in connecting and event == writable:
                connected.append(fd)
            elif fd in asking and event == readable:
                asked.append(fd)
            elif fd in accepts:
                accepted += accepts[fd](MAX_EVENTS if lean else len(events))
            else:
                unusual.append((fd, event))
        # Before anything is closed: whose other side has an event, too, is a pair from here on.
        for fd, _ in unusual:
            usual.leave(fd)

        requests = []
        for client in accepted:
            if reads_at_once:
                try:
                    requests.append((client, read_now(client)))
                except BlockingIOError:
                    asking.add(client)
                except OSError:
                    row[counters.ERROR_READ] += 1
                    ended.append(client)
                    continue
            elif not only_pairs:
                asking.add(client)
            register(client, READ_EVENTS)
            if only_pairs:
                pairs.adopt(client)
        for client in asked:
            asking.remove(client)
            try:
                requests.append((client, read(client, RELAY_SIZE)))
            except OSError:
                row[counters.ERROR_READ] += 1
                ended.append(client)
        replies = []
        for backend, event in answered:
            try:
                reply = read(backend, RELAY_SIZE)
            except OSError:
                reply = b""  # reset just now, which ends the exchange as the end of the stream does
            replies.append((backend, reply, event))

        for backend in connected:
            if backend not in connecting:
                pairs.handle(sides[backend], writable)
                continue
            client, order, request, _ = connecting[backend]
            try:
                sent = write(backend, request)
            except OSError:
                pairs.handle(usual.leave_backend(backend), writable)
                continue
            del connecting[backend]
            answering[backend] = client, order, request, now_s
            if sent < len(request):
                usual.leave_backend(backend).unsent = request[sent:]

        # What a client sent is read before its reply ends the exchange: a close with unread bytes would be a reset.
        for fd, event in unusual:
            if fd in sides:
                pairs.handle(sides[fd], event)

        completed = 0
        for backend, reply, event in replies:
            if backend not in answering:
                if backend in sides:  # its client may have gone just now
                    pairs.take(sides[backend], reply, event)
            elif not is_one_reply(reply):
                pairs.take(usual.leave_backend(backend), reply, event)
            else:
                client, order, _, _ = answering.pop(backend)
                del backend_of[client]
                completed += 1
                if not reset(backend, order[0]):
                    close(backend)
                try:
                    sent = write_now(client, reply)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    row[counters.ERROR_WRITE] += 1
                    sent = len(reply)
                if sent < len(reply):
                    pairs.finish(client, reply[sent:])
                else:
                    close(client)

        for client, request in requests:
            if not request:
                ended.append(client)
            elif len(request) < RELAY_SIZE and is_whole_request(request):
                usual.connect(client, request, now_s)
            else:
                pairs.take(pairs.adopt(client), request, readable)

        row[counters.REQUESTS] += completed

        for fd in ended:
            close(fd)
        if wait_s >= 0 and now_s >= next_tick_s:
            next_tick_s = now_s + TICK_S
            listeners.wake()
            usual.leave_late(now_s - TICK_S)
            pairs.expire()
        pairs.end_turn()
        if verbose:
            counters.record_poll(row, len(events))


class _Usual:
    """The exchanges that have gone the usual way so far."""

    def __init__(self, sockets: BackendSockets, backends: Backends[Target], pairs: Pairs) -> None:
        self._sockets = sockets
        self._backends = backends
        self._pairs = pairs
        self.asking: set[int] = set()
        """Clients that have sent nothing yet."""
        self.connecting: dict[int, _Exchange] = {}
        """By the backend's descriptor, those whose request waits for the handshake, the oldest first."""
        self.answering: dict[int, _Exchange] = {}
        """By the backend's descriptor, those whose request was sent, the oldest first."""
        self.backend_of: dict[int, int] = {}
        """The backend's descriptor by the client's."""

    def connect(self, client: int, request: bytes, now_s: float) -> None:
        """Begin to connect to the backend whose turn it is."""
        order = self._backends.turn()
        try:
            backend = self._sockets.connect(order[0])
        except OSError:
            # It fails for a pair as well, which counts and logs that, and goes on to the next backend.
            self._pairs.begin(client, request, order)
            return
        self.connecting[backend] = client, order, request, now_s
        self.backend_of[client] = backend

    def leave(self, fd: int) -> None:
        """Make a pair of the exchange that a descriptor belongs to, if it is one of these."""
        if fd in self.asking:
            self.asking.remove(fd)
            self._pairs.adopt(fd)
            return
        backend = self.backend_of.get(fd, fd)
        if backend in self.connecting or backend in self.answering:
            self.leave_backend(backend)

    def leave_backend(self, backend: int) -> Side:
        """Make a pair of an exchange, and return its backend's side."""
        sent = backend in self.answering
        client, order, request, _ = (self.answering if sent else self.connecting).pop(backend)
        del self.backend_of[client]
        return self._pairs.adopt_exchange(client, backend, order, request, sent=sent)

    def leave_late(self, begun_before_s: float) -> None:
        """Make pairs of those that take long; these have time limits."""
        for exchanges in (self.connecting, self.answering):
            for backend, (*_, begun_s) in [*exchanges.items()]:
                if begun_s > begun_before_s:
                    break
                self.leave_backend(backend)
