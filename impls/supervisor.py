"""The parent's work: it starts the workers, replaces those that die, passes orders on, prints statistics, and stops."""

import math
import os
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from impls import counters, log, orders, worker_process
from impls.console import say
from impls.contract import Options
from impls.counters import Row
from impls.listeners import Listeners
from impls.log import Log
from impls.orders import Superior
from impls.statistics import Statistics
from impls.worker import Serve, Worker

WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
"""They have to be blocked: they are fetched one by one, so that no handler runs, and none at a bad moment."""
EARLY_S = 1.0
"""Who dies within this time of its start is started again after a pause."""
FIRST_PAUSE_S = 0.1
"""The first such pause; each further one is twice as long."""
LONGEST_PAUSE_S = 1.6
"""The longest pause: before the last try that those who die get, and between tries to start one where that fails."""
MOST_EARLY_DEATHS = 6
"""With so many in a row of one worker the server gives up, after 3.1 s of pauses."""
NO_WORKER_S = 3.1
"""As long as that the server tries to start one when it has none."""


class GivenUp(Exception):  # noqa: N818  it says what has happened
    """A worker cannot be kept alive; the text says which and why."""


@dataclass(slots=True)
class _Place:
    """A worker's place, which one process after the other may hold."""

    index: int
    cpu: int
    row: Row
    listeners: Listeners
    start_at_s: float = 0.0
    """When to start a process, while there is none; these times are those of time.monotonic."""
    pid: int | None = None
    superior: Superior | None = None
    started_s: float = 0.0
    early_deaths: int = 0
    """In a row."""
    failed_starts: int = 0
    """In a row."""


class Supervisor:
    """Keeps one worker running for each CPU."""

    def __init__(self, name: str, serve: Serve, options: Options, listeners: Sequence[Listeners], log_fd: int) -> None:
        """``name`` begins the lines that are printed; ``log_fd`` stays the log's, whatever file it stands for."""
        self._name = name
        self._serve = serve
        self._options = options
        self._listeners = frozenset(chain.from_iterable(listeners))
        """All, each once; kept, so that connections wait for who takes a dead worker's place."""
        *rows, own_row = counters.rows(len(options.cpus) + 1)
        self._log = Log(log_fd, "parent", own_row)
        self._places = [_Place(i, cpu, rows[i], listeners[i]) for i, cpu in enumerate(options.cpus)]
        self._statistics = Statistics(rows, own_row, options.cpus, verbose=options.verbose)
        self._no_worker_since_s: float | None = None
        """When a start failed for the first time while there was no worker at all."""
        self._told_failed_start_s = -math.inf
        self._print_at_s = time.monotonic() + 1.0
        self._max_connections = worker_process.room_for_connections(options)

    def run(self) -> None:
        """Serve until a signal asks to end; no worker is left when this returns.

        Raises GivenUp when a worker has died again and again, with no worker left either.
        """
        if self._max_connections < self._options.max_connections:
            self._log.line(f"the limit on open files leaves room for {self._max_connections} connections a worker")
        try:
            self._watch()
        finally:
            self._stop()
            for line in self._statistics.rest():
                say(line)

    def _watch(self) -> None:
        while True:
            self._start_due()
            number = self._signal(min((place.start_at_s for place in self._places if place.pid is None), default=None))
            if number in (signal.SIGINT, signal.SIGTERM):
                for place, cause in self._reap():
                    self._log.line(f"worker {place.index} {cause}")
                self._start_where_some_wait(self._places)
                return
            if number == signal.SIGHUP:
                self._reopen_log()
            if number == signal.SIGCHLD:
                for place, cause in self._reap():
                    self._died(place, cause)
            for place in self._places:
                if place.superior is not None:
                    place.superior.catch_up()

    def _signal(self, until_s: float | None) -> int | None:
        """Wait for a signal, until a point in time or until statistics have been printed; return its number."""
        now_s = time.monotonic()
        if self._print_at_s <= now_s:
            for line in self._statistics.lines():
                say(line)
            self._print_at_s += 1.0
            if self._print_at_s <= now_s:  # it was stopped, or has stalled
                self._print_at_s = now_s + 1.0
            return None
        wait_s = min(self._print_at_s, until_s or self._print_at_s) - now_s
        # After SIGSTOP and SIGCONT it may return a signal that there was not (CPython 3.11, signal_sigtimedwait_impl).
        received = signal.sigtimedwait(WATCHED, max(0.0, wait_s))
        return received.si_signo if received else None

    # Workers come and go

    def _start_due(self) -> None:
        for place in self._places:
            if place.pid is None and place.start_at_s <= time.monotonic():
                self._start(place)

    def _start(self, place: _Place) -> None:
        """Start a worker, or decide when that is tried again. Raises GivenUp."""
        try:
            self._fork(place)
        except OSError as error:
            self._not_started(place, error)

    def _fork(self, place: _Place) -> None:
        """Start a worker. Raises OSError."""
        place.started_s = time.monotonic()
        its_log = Log(self._log.fd, f"worker {place.index}", place.row)
        superior, its_orders = orders.channel(its_log)
        worker = Worker(
            index=place.index,
            cpu=place.cpu,
            listeners=place.listeners,
            options=self._options,
            max_connections=self._max_connections,
            counters=place.row,
            log=its_log,
            orders=its_orders,
        )
        superiors = [superior, *(other.superior for other in self._places if other.superior is not None)]
        others = self._listeners.difference(place.listeners)
        try:
            place.pid = worker_process.fork(self._serve, worker, superiors, others)
        except OSError:
            superior.stop()
            raise
        finally:
            its_orders.close()
        place.superior = superior
        place.failed_starts = 0
        self._no_worker_since_s = None

    def _not_started(self, place: _Place, error: OSError) -> None:
        """Try again after a pause: what the machine lacks may come back, and other workers serve. Raises GivenUp."""
        now_s = time.monotonic()
        what = f"worker {place.index} could not be started: {error.strerror}"
        if any(other.pid is not None for other in self._places):
            self._no_worker_since_s = None
        elif self._no_worker_since_s is None:
            self._no_worker_since_s = now_s
        elif now_s - self._no_worker_since_s >= NO_WORKER_S:
            self._log.line(f"{what}; given up")
            raise GivenUp(f"{what}, and for {NO_WORKER_S:g} s there was no worker; given up")
        pause_s = min(FIRST_PAUSE_S * 2**place.failed_starts, LONGEST_PAUSE_S)
        place.start_at_s = now_s + pause_s
        if pause_s < LONGEST_PAUSE_S:
            place.failed_starts += 1
        if now_s - self._told_failed_start_s >= 1.0:
            self._told_failed_start_s = now_s
            self._tell(f"{what}; that is tried again")

    def _reap(self) -> list[tuple[_Place, str]]:
        """Collect the workers that have ended, and what became of each."""
        ended = []
        for place in self._places:
            if place.pid is None:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if not pid:
                continue
            ended.append((place, f"(process {pid}) {_cause(os.waitstatus_to_exitcode(status))}"))
            place.pid = None
            if place.superior is not None:
                place.superior.stop()
                place.superior = None
        return ended

    def _died(self, place: _Place, cause: str) -> None:
        """Tell what has become of a worker, and decide when its place gets another. Raises GivenUp."""
        now_s = time.monotonic()
        place.early_deaths = place.early_deaths + 1 if now_s - place.started_s < EARLY_S else 0
        what = f"worker {place.index} {cause}"
        if place.early_deaths >= MOST_EARLY_DEATHS:
            self._log.line(f"{what}; given up")
            often = f"{MOST_EARLY_DEATHS} times in a row within {EARLY_S:g} s of its start"
            raise GivenUp(f"{what}, as {often}; given up, all were ended")
        pause_s = FIRST_PAUSE_S * 2 ** (place.early_deaths - 1) if place.early_deaths else 0.0
        place.start_at_s = now_s + pause_s
        place.row[counters.ERROR_RESTARTS] += 1
        told = f"{what}; another takes its place on CPU {place.cpu}{f' in {pause_s:g} s' if pause_s else ''}"
        self._tell(told)

    def _tell(self, what: str) -> None:
        self._log.line(what)
        say(f"{self._name}: {what}")

    # Orders

    def _reopen_log(self) -> None:
        try:
            new_fd = log.open_file(self._options.log_file)
        except ValueError as error:
            self._tell(f"the log is still the old file, as the new one {error}")
            return
        orders.use_log(new_fd, self._log.fd)
        for place in self._places:
            if place.superior is not None:
                place.superior.use_log(self._log.fd)

    def _stop(self) -> None:
        """Have the workers finish what is under way, for as long as the grace lasts; then end those that are left."""
        self._order_to_stop()
        replaced: set[int] = set()
        until_s = time.monotonic() + self._options.grace_s
        while any(place.pid for place in self._places) and time.monotonic() < until_s:
            if self._signal(until_s) == signal.SIGINT:
                break
            for place, cause in self._reap():
                if not cause.endswith("status 0"):
                    self._log.line(f"worker {place.index} {cause} while it was to finish")
                    if self._options.queues_apart and place.index not in replaced:
                        replaced.add(place.index)
                        self._replace_to_finish(place)
            self._order_to_stop()
        self._kill_the_rest()
        self._let_go_of_listeners()

    def _order_to_stop(self) -> None:
        for place in self._places:
            if place.superior is not None:
                place.superior.stop()
        self._let_go_of_listeners()

    def _let_go_of_listeners(self) -> None:
        """Close those that no worker has, and those that are none's alone: its place need not be taken then."""
        kept = self._served() if self._options.queues_apart else set()
        for listener in self._listeners - kept:
            listener.close()

    def _served(self) -> set[socket.socket]:
        """Return the listeners of all workers that live."""
        return {listener for place in self._places if place.pid is not None for listener in place.listeners}

    def _replace_to_finish(self, place: _Place) -> None:
        """Start another worker for who waits at those listeners that the dead one had not emptied."""
        place.listeners = tuple(
            listener for listener in place.listeners if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
        place.row[counters.ERROR_RESTARTS] += bool(place.listeners)
        self._start_where_some_wait([place])

    def _start_where_some_wait(self, places: Iterable[_Place]) -> None:
        """Start a worker at those of some places where connections may wait that no living one would accept."""
        served = self._served()
        alone, why = [], ""
        for place in places:
            if place.listeners and served.isdisjoint(place.listeners):
                try:
                    self._fork(place)
                except OSError as error:
                    alone.append(place)
                    why = str(error.strerror)
                else:
                    served.update(place.listeners)
        if left := [str(place.index) for place in alone if served.isdisjoint(place.listeners)]:
            self._tell(f"nobody could be started for those who wait for worker {' '.join(left)}: {why}")

    def _kill_the_rest(self) -> None:
        killed = []
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, signal.SIGKILL)
                os.waitpid(place.pid, 0)
                place.pid = None
                killed.append(str(place.index))
        if killed:
            self._log.line(f"ended before all was finished: worker {' '.join(killed)}")


def _cause(code: int) -> str:
    """Put into words how a process has ended; ``code`` is negative for a signal."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"was killed by signal {-code}"
