"""Server mode with keep-alive: each message gets its reply, and the connection stays.

Why this looks as it does
-------------------------
As in ``short.py`` the loop works on bare descriptors. All connections of a batch are read from before any is answered:
so the replies leave one right after the other, and the CPU that receives them is interrupted once for many. To answer
each when it is read gives 0.881 (0.843 to 0.921) of the requests/s.

Connections are registered once, level-triggered. Edge-triggered ones, which the kernel looks at once less for each
request, were no faster that could be shown: 1.018 (0.985 to 1.051).

(``harness compare --impls epoll_raw --external other=COMMAND --workloads keepalive --blocks 4 --budget 40s``, COMMAND a
copy that does as the sentence says; two-core virtual machine, Linux 6.18, netns, one worker; 95 % intervals.)
"""

import os
import select
from time import monotonic

from impls import counters
from impls.contract import READ_SIZE
from impls.epoll_raw.accept import MAX_EVENTS, WatchedListeners
from impls.epoll_raw.rare import Rare
from impls.worker import Worker


def answer_each(worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915  the hot path: a call per step would cost more than it explains
    """Answer each message with one reply, and wait for the next."""
    row, log = worker.counters, worker.log
    verbose, debug = worker.options.verbose, worker.options.debug
    reply = worker.options.reply
    epoll = select.epoll()
    listeners = WatchedListeners(worker, epoll)
    rare = Rare(worker, epoll, listeners)
    accepts, handlers = listeners.accepts, rare.handlers
    accepted_s, moved_s, most = rare.accepted_s, rare.moved_s, worker.max_connections
    poll, register, read, write, readable = epoll.poll, epoll.register, os.read, os.write, select.EPOLLIN

    while True:
        events = poll(rare.wait_s, MAX_EVENTS)
        now_s = monotonic()
        unanswered = []
        for fd, _ in events:
            if fd in accepts:
                for new in accepts[fd](min(len(events), most - len(accepted_s))):
                    # A client that asks again and again without reading could fill its send buffer.
                    os.set_blocking(new, False)
                    register(new, readable)
                    accepted_s[new] = now_s
                if len(accepted_s) >= most:
                    rare.is_due = True
                continue
            if fd in handlers:
                handlers[fd]()
                continue
            try:
                data = read(fd, READ_SIZE)
            except OSError as error:
                rare.failed(fd, counters.ERROR_READ, error)
                continue
            if debug:
                log.read(fd, data)
            if data:
                unanswered.append(fd)
                moved_s[fd] = now_s
            else:
                rare.close(fd)

        requests = 0
        for fd in unanswered:
            try:
                sent = write(fd, reply)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                rare.failed(fd, counters.ERROR_WRITE, error)
                continue
            requests += 1
            if debug:
                log.wrote(fd, sent)
            if sent < len(reply):
                rare.send_later(fd, reply[sent:])
        row[counters.REQUESTS] += requests

        if verbose:
            counters.record_poll(row, len(events))
        if rare.is_stopping:
            rare.end_answered(unanswered)
        if rare.is_due and rare.tend():
            return
