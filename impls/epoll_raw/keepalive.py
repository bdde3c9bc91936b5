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

from impls import counters
from impls.contract import READ_SIZE
from impls.epoll_raw.accept import MAX_EVENTS, Listeners
from impls.epoll_raw.rare import Rare
from impls.worker import Worker


def answer_each(worker: Worker) -> None:  # noqa: C901, PLR0912  the hot path: a call per step would cost more than it explains
    """Answer each message with one reply, and wait for the next."""
    row, log = worker.counters, worker.log
    verbose, debug = worker.options.verbose, worker.options.debug
    reply = worker.options.reply
    epoll = select.epoll()
    listeners = Listeners(worker, epoll)
    rare = Rare(worker, epoll, listeners)
    accepts, handlers = listeners.accepts, rare.handlers
    poll, register, read, write, readable = epoll.poll, epoll.register, os.read, os.write, select.EPOLLIN

    while True:
        wait_s = rare.wait_s
        events = poll(wait_s, MAX_EVENTS)
        unanswered = []
        for fd, _ in events:
            if fd in accepts:
                for new in accepts[fd](len(events)):
                    # A client that asks again and again without reading could fill its send buffer.
                    os.set_blocking(new, False)
                    register(new, readable)
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

        if wait_s >= 0:
            rare.expire()
        if verbose:
            counters.record_poll(row, len(events))
