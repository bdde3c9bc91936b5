"""A worker as a process: forked, bound to its CPU and to its parent, with nothing that is the parent's."""

import ast  # noqa: F401  a traceback imports it, as a user perhaps who may not read this Python's files
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Sequence

from impls.contract import Options
from impls.orders import Superior
from impls.worker import Serve, Worker

_PR_SET_PDEATHSIG = 1  # prctl(2)
_OTHER_FILES = 64
"""Descriptors kept free for what is no client's connection: streams, log, listeners, what a library needs itself."""
_PARENTS_FILES = 8
"""Descriptors of the parent beside listeners and orders: streams, log, and what it opens for a moment."""


def allow_open_files() -> None:
    """Allow as many open files as the kernel lets this user have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with open("/proc/sys/fs/nr_open") as file:  # noqa: PTH123  servers do without pathlib
            most = int(file.read())
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # ValueError: only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_open_files(options: Options) -> None:
    """See that the parent may open what it keeps: all listeners, and for each worker its end of the orders.

    Raises ValueError with one line that says how many files these are.
    """
    workers, addresses = len(options.cpus), len(options.addresses)
    needed = _PARENTS_FILES + workers + addresses * (workers if options.listeners_apart else 1)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        apart = f"--listen {options.listen_mode}: " if options.listeners_apart else ""
        raise ValueError(
            f"{apart}{workers} workers on {addresses} addresses take {needed} open files, and the limit is {soft}; "
            "give fewer (-w, -a), or raise it ('ulimit -n')"
        )


def room_for_connections(options: Options) -> int:
    """Tell how many clients' connections a worker may hold: as many as asked for, or as the open files leave room for.

    In proxy mode each may need a second descriptor, for its backend's.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = (soft - _OTHER_FILES - len(options.addresses)) // (2 if options.backends else 1)
    return max(1, min(options.max_connections, room))


def fork(serve: Serve, worker: Worker, superiors: Sequence[Superior], others_listeners: Iterable[socket.socket]) -> int:
    """Start a worker and return its process id.

    ``superiors`` are the parent's ends of all workers' orders. ``others_listeners`` are not this worker's: did it keep
    them, connections would still come to them when the one that they are for has closed its own. Raises OSError.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for superior in superiors:
            superior.stop()
        for listener in others_listeners:
            listener.close()
        _become_worker(parent, worker)
        serve(worker)
        if worker.orders.to_stop:
            status = 0
        else:
            worker.log.line("error: serve() has returned without being told to stop")
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
    # The parent decides when a worker ends. What is typed at a terminal, and its end, reach the whole group; so does
    # what timeout(1) and systemd send. A worker ends by its orders, with its parent, and by SIGKILL.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.sched_setaffinity(0, {worker.cpu})
    # What exists by now lives for ever: the collector need not look at it again in any implementation.
    gc.collect()
    gc.freeze()
