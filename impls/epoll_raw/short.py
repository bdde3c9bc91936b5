"""Server mode without keep-alive: a connection, a request, a reply, the end.

Why this looks as it does
-------------------------
The loop runs some 20 thousand times a second, so it works on bare file descriptors and local names: a ``socket.socket``
per connection would cost a getsockname(2) when it is made (CPython checks the descriptor it is given) and an object to
make and free. What happens rarely (a request larger than one read, a client that has gone) is in ``rare.py``.

A batch of events is worked off in steps: accept, then read from all that can be read, then answer and close them. So
a batch's packets leave one right after the other, and the CPU that receives them is interrupted once for many. To
answer each when it is read gives 0.932 (0.890 to 0.973) of the requests/s.

Accepting stops when as many were accepted as the batch has events. A worker that is idle takes one, as the original
does, and leaves the rest to the others; a busy one spares an epoll_wait(2) for each. To accept one each time gives
0.630 (0.595 to 0.667) of the requests/s.

With ``--lean`` a connection comes with its request. It is read at once, and never gets into the epoll set unless it is
one that has sent nothing in time. Every waiting connection is accepted: it will be closed before the next poll. To
register it and wait for an event takes 1.09 times the CPU time.

(``harness compare --impls epoll_raw,epoll_raw+lean --external other=COMMAND --workloads short --blocks 4 --budget
45s``, COMMAND a copy that does as the sentence says; two-core virtual machine, Linux 6.18, netns, one worker; 95 %
intervals.)

Facts about epoll that it rests on:

- A descriptor leaves its epoll set by itself when its last copy is closed (epoll(7), question 6), so nothing is
  unregistered.
- One epoll_wait(2) reports a descriptor at most once. None is closed before all events of a batch have been looked at,
  but for a lingering one at its own event. So one that is given out anew cannot get its predecessor's event.
"""

import os
import select
from time import monotonic

from impls import counters
from impls.contract import BLANK_LINE, GET, READ_SIZE
from impls.epoll_raw import no_wait
from impls.epoll_raw.accept import MAX_EVENTS, WatchedListeners
from impls.epoll_raw.rare import Rare
from impls.worker import Worker


def answer_once(worker: Worker) -> None:  # noqa: C901, PLR0912, PLR0915  the hot path: a call per step would cost more than it explains
    """Answer one message of each connection with one reply, then close."""
    row, log = worker.counters, worker.log
    lean, verbose, debug = worker.options.lean, worker.options.verbose, worker.options.debug
    reply = worker.options.reply
    epoll = select.epoll()
    listeners = WatchedListeners(worker, epoll)
    rare = Rare(worker, epoll, listeners)
    accepts, handlers = listeners.accepts, rare.handlers
    accepted_s, most = rare.accepted_s, worker.max_connections
    poll, register, readable = epoll.poll, epoll.register, select.EPOLLIN
    # Neither the read after an event nor the write into an empty buffer can block; the read without one can.
    read_now, read, write, close = no_wait.reader(READ_SIZE), os.read, os.write, os.close

    while True:
        events = poll(rare.wait_s, MAX_EVENTS)
        unread: list[int] = []
        for fd, _ in events:
            if fd in accepts:
                room = most - len(accepted_s)
                if lean:
                    unread += accepts[fd](min(MAX_EVENTS, room - len(unread)))
                else:
                    now_s = monotonic()
                    for new in accepts[fd](min(len(events), room)):
                        register(new, readable)
                        accepted_s[new] = now_s
                    if len(accepted_s) >= most:
                        rare.is_due = True
            elif fd in handlers:
                handlers[fd]()
            else:
                unread.append(fd)

        unanswered = []
        for fd in unread:
            try:
                data = read_now(fd) if lean else read(fd, READ_SIZE)
            except BlockingIOError:
                register(fd, readable)
                accepted_s[fd] = monotonic()
                if len(accepted_s) >= most:
                    rare.is_due = True
                continue
            except OSError as error:
                rare.failed(fd, counters.ERROR_READ, error)
                continue
            if debug:
                log.read(fd, data)
            if not data:
                rare.close(fd)
            elif data.startswith(GET) and data.endswith(BLANK_LINE) and len(data) < READ_SIZE:
                unanswered.append(fd)
            else:
                rare.answer_and_linger(fd)

        requests = 0
        for fd in unanswered:
            try:
                write(fd, reply)
            except OSError as error:
                rare.failed(fd, counters.ERROR_WRITE, error)
                continue
            close(fd)
            accepted_s.pop(fd, None)
            requests += 1
            if debug:
                log.wrote(fd, len(reply))
                log.closed(fd)
        row[counters.REQUESTS] += requests

        if verbose:
            counters.record_poll(row, len(events))
        if rare.is_due and rare.tend():
            return
