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
from time import monotonic

from impls import counters, locality
from impls.backends import Backends
from impls.contract import RELAY_SIZE
from impls.epoll_raw import no_wait
from impls.epoll_raw.accept import MAX_EVENTS, WatchedListeners
from impls.epoll_raw.backend_sockets import BackendSockets
from impls.epoll_raw.idle import Looks
from impls.epoll_raw.pair import ALL_EVENTS, READ_EVENTS
from impls.epoll_raw.pairs import TICK_S, Pairs
from impls.epoll_raw.proxy_limits import ProxyLimits
from impls.epoll_raw.usual import Usual
from impls.framing import is_one_reply, is_whole_request
from impls.worker import Worker

_BROKEN = select.EPOLLHUP | select.EPOLLERR


def relay(worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915  the hot path: a call per step would cost more than it explains
    """Relay between clients and backends until the order to stop has come and what was under way has ended."""
    options, row, verbose, lean = worker.options, worker.counters, worker.options.verbose, worker.options.lean
    only_pairs = options.keepalive or options.debug
    reads_at_once = lean and not only_pairs
    epoll = select.epoll()
    listeners = WatchedListeners(worker, epoll)
    sockets = BackendSockets(options.backends, epoll, ALL_EVENTS, lean=lean)
    backends = Backends(sockets.targets, options.backend_rest_s, options.connect_timeout_s, row)
    looks = Looks(options.idle_timeout_s)
    sample = locality.of_backends(worker)
    pairs = Pairs(worker, epoll, backends, looks, listeners.rest, sample)
    usual = Usual(sockets, backends, pairs)
    limits = ProxyLimits(worker, epoll, listeners, usual, pairs, looks)
    accepts, sides = listeners.accepts, pairs.turn.sides
    asking, connecting, answering, backend_of = usual.asking, usual.connecting, usual.answering, usual.backend_of
    poll, register, read, write, close = epoll.poll, epoll.register, os.read, os.write, os.close
    read_now, write_now, reset = no_wait.reader(RELAY_SIZE), no_wait.writer(), sockets.reset
    orders_fd, alarm_fd = worker.orders.fileno(), looks.alarm.fd
    readable, writable, broken = select.EPOLLIN, select.EPOLLOUT, _BROKEN
    moved_s, most, on_trial = pairs.clients.moved_s, worker.max_connections, backends.on_trial
    next_tick_s = 0.0

    while True:
        wait_s = pairs.wait_s
        if wait_s < 0:
            wait_s = TICK_S if connecting or answering else limits.wait_s
        events = poll(wait_s, MAX_EVENTS)
        now_s = monotonic()
        pairs.begin_turn(now_s)

        accepted: list[int] = []
        asked, connected, answered, unusual, ended = [], [], [], [], []
        for fd, event in events:
            if fd in answering and event & readable and not event & broken:
                answered.append((fd, event))
            elif fd in connecting and event == writable:
                connected.append(fd)
            elif fd in asking and event == readable:
                asked.append(fd)
            elif fd in accepts:
                room = most - len(asking) - len(backend_of) - len(moved_s) - len(accepted)
                accepted += accepts[fd](min(MAX_EVENTS if lean else len(events), room))
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
                    asking[client] = now_s
                except OSError:
                    row[counters.ERROR_READ] += 1
                    ended.append(client)
                    continue
            elif not only_pairs:
                asking[client] = now_s
            register(client, READ_EVENTS)
            if only_pairs:
                pairs.adopt(client)
        for client in asked:
            del asking[client]
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
            if sample and reply:
                sample.skip -= 1
                if sample.skip < 0:
                    sample.ask(backend)

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
            if on_trial:
                backends.accepted(order[0])
            del connecting[backend]
            answering[backend] = client, order, request, now_s
            if sent < len(request):
                usual.leave_backend(backend).unsent = request[sent:]

        # What a client sent is read before its reply ends the exchange: a close with unread bytes would be a reset.
        for fd, event in unusual:
            if fd in sides:
                pairs.handle(sides[fd], event)
            elif fd == orders_fd:
                limits.obey()
            elif fd == alarm_fd:
                looks.alarm.clear()

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
        if now_s >= next_tick_s:
            next_tick_s = now_s + TICK_S
            usual.leave_late(now_s - TICK_S)
            pairs.limits.expire()
        if now_s >= looks.next_s:
            limits.end_idle(now_s)
        pairs.turn.end()
        if verbose:
            counters.record_poll(row, len(events))
        held = len(asking) + len(backend_of) + len(moved_s)
        if (held >= most or listeners.is_paused or limits.is_stopping) and limits.tend(now_s):
            return
