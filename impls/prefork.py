"""The parent process: parse, open, fork, pin, watch, stop; and the statistics once a second.

An implementation's ``__main__.py`` calls ``main``; nothing here knows how it serves.
"""

import ctypes
import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

from impls import contract, counters
from impls.console import open_missing_streams, say
from impls.contract import Options
from impls.listeners import open_listeners
from impls.log import Log
from impls.statistics import Statistics
from impls.worker import Serve, Worker

_WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1  # prctl(2)
_KILL_AFTER_S = contract.STOP_WITHIN_S / 2


def main(name: str, serve: Serve, library: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``python -m impls.NAME``; ``library`` is what ``--version`` says it stands on."""
    open_missing_streams()
    options = contract.parse(sys.argv[1:] if argv is None else argv, name, library)
    try:
        listeners = open_listeners(options)
        log_fd = _open_log(options.log_file)
    except ValueError as error:
        say(f"impls.{name}: error: {error}")
        sys.exit(2)
    _raise_open_files_limit()
    # Signals stay blocked and are fetched in turn: no handler, so none can come at a bad moment. Blocked
    # before the fork, so that a worker which ends at once is not missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    rows = counters.rows(len(options.cpus))
    workers: dict[int, int] = {}
    statistics = Statistics(rows, options.cpus, verbose=options.verbose)
    try:
        for index, cpu in enumerate(options.cpus):
            log = Log(log_fd, f"worker {index}")
            workers[_fork(serve, Worker(index, cpu, listeners, options, rows[index], log))] = index
        for listener in listeners:
            listener.close()
        say(f"impls.{name}: {_introduction(options)}")
        dead = _watch(statistics, workers)
    except OSError as error:
        dead = f"worker {len(workers)} could not be started: {error.strerror}"
    finally:
        _stop(workers)
    for line in statistics.rest():
        say(line)
    if dead:
        say(f"impls.{name}: error: {dead}; all were ended; see {options.log_file}")
    sys.exit(1 if dead else 0)


def _introduction(options: Options) -> str:
    mode = f"proxy to {' '.join(map(str, options.backends))}" if options.backends else "server"
    flags = (", keep-alive" if options.keepalive else "") + (", lean" if options.lean else "")
    cpus = " ".join(map(str, options.cpus))
    return f"{mode}{flags} on {' '.join(map(str, options.listen))}, workers on CPU {cpus}, log {options.log_file}"


def _open_log(path: str) -> int:
    try:
        # Without O_NONBLOCK, to open a pipe that nobody reads would wait for somebody who does.
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"-o {path}: cannot be written: {reason}; name a file in a folder that can be") from None


def _raise_open_files_limit() -> None:
    """Allow as many open files as the kernel lets this user have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with open("/proc/sys/fs/nr_open") as file:  # noqa: PTH123  servers do without pathlib
            most = int(file.read())
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # ValueError: only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _fork(serve: Serve, worker: Worker) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_worker(parent, worker)
        serve(worker)
        worker.log.line("error: serve() has returned")
    except BaseException:  # noqa: BLE001  nothing may return into the parent's code; the log and the status tell
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _become_worker(parent: int, worker: Worker) -> None:
    os.dup2(worker.log.fd, 1)
    os.dup2(worker.log.fd, 2)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise RuntimeError("the parent ended before its worker began")
    # The parent decides when a worker ends: an interrupt typed at the terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    os.sched_setaffinity(0, {worker.cpu})
    # What exists by now lives for ever: the collector need not look at it again in any implementation.
    gc.collect()
    gc.freeze()


def _watch(statistics: Statistics, workers: dict[int, int]) -> str | None:
    """Print statistics every second until a signal asks to end, or return what has happened to a worker."""
    due_s = time.monotonic() + 1.0
    while True:
        wait_s = due_s - time.monotonic()
        if wait_s <= 0:
            for line in statistics.lines():
                say(line)
            due_s += 1.0
            if due_s <= time.monotonic():  # it was stopped, or has stalled
                due_s = time.monotonic() + 1.0
            continue
        # After SIGSTOP and SIGCONT it may return a signal that there was not (CPython 3.11, signal_sigtimedwait_impl).
        received = signal.sigtimedwait(_WATCHED, wait_s)
        number = received.si_signo if received else None
        if number == signal.SIGCHLD and (dead := _reap(workers)):
            return dead
        if number in (signal.SIGINT, signal.SIGTERM):
            return None


def _reap(workers: dict[int, int]) -> str | None:
    """Collect ended workers; describe the first, or return None when none has ended."""
    described = None
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            index = workers.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            described = described or f"worker {index} (process {pid}) {cause}"
    return described


def _stop(workers: dict[int, int]) -> None:
    """End the workers, first by asking; none is left when this returns."""
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _KILL_AFTER_S
    while workers and (left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait({signal.SIGCHLD}, left)
        _reap(workers)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    workers.clear()
