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
from collections.abc import Iterable, Sequence
from typing import NoReturn

from impls import contract, counters
from impls.contract import Options
from impls.counters import Row
from impls.listeners import open_listeners
from impls.log import Log
from impls.statistics import Statistics
from impls.worker import Serve, Worker

_WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1  # prctl(2)
_KILL_AFTER_S = contract.STOP_WITHIN_S / 2


def main(name: str, serve: Serve, library: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``python -m impls.NAME``; ``library`` is what ``--version`` says it stands on."""
    options = contract.parse(sys.argv[1:] if argv is None else argv, name, library)
    try:
        log_fd = _open_log(options.log_file)
        listeners = open_listeners(options.listen)
    except ValueError as error:
        sys.exit(_say(name, f"error: {error}", status=2))
    _raise_open_files_limit()
    # Signals stay blocked and are fetched in turn: no handler, so none can come at a bad moment. Blocked
    # before the fork, so that a worker which ends at once is not missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    rows = counters.rows(len(options.cpus))
    workers: dict[int, int] = {}
    for index, cpu in enumerate(options.cpus):
        log = Log(log_fd, f"worker {index}")
        workers[_fork(serve, Worker(index, cpu, listeners, options, rows[index], log))] = index
    for listener in listeners:
        listener.close()
    _say(name, _introduction(options))
    status = 1
    try:
        status = _watch(name, options, rows, workers)
    finally:
        _stop(workers)
    sys.exit(status)


def _say(name: str, text: str, status: int = 0) -> int:
    sys.stderr.write(f"impls.{name}: {text}\n")
    sys.stderr.flush()
    return status


def _print_all(lines: Iterable[str]) -> None:
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except BrokenPipeError:
        # Whoever read the statistics has gone, which is no reason to stop serving.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _introduction(options: Options) -> str:
    mode = f"proxy to {' '.join(map(str, options.backends))}" if options.backends else "server"
    kept = ", keep-alive" if options.keepalive else ""
    cpus = " ".join(map(str, options.cpus))
    return f"{mode}{kept} on {' '.join(map(str, options.listen))}, workers on CPU {cpus}, log {options.log_file}"


def _open_log(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"-o {path}: cannot be written: {reason}; name a file in a folder that can be") from None


def _raise_open_files_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _fork(serve: Serve, worker: Worker) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _become_worker(parent, worker)
        serve(worker)
    except BaseException:  # noqa: BLE001  nothing may return into the parent's code; the log and the status tell
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


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


def _watch(name: str, options: Options, rows: Sequence[Row], workers: dict[int, int]) -> int:
    """Print statistics until a signal asks to end (0) or a worker dies (1)."""
    statistics = Statistics(rows, options.cpus, verbose=options.verbose)
    last = time.monotonic()
    while True:
        wait = last + 1.0 - time.monotonic()
        received = signal.sigtimedwait(_WATCHED, wait) if wait > 0 else None
        if received is None:
            now = time.monotonic()
            _print_all(statistics.lines(now - last))
            last = now
        elif received.si_signo == signal.SIGCHLD:
            dead = _reap(workers)
            if dead:
                return _say(name, f"error: {dead}; ending all; see {options.log_file}", status=1)
        else:
            return 0


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
