"""Processes that end with the harness, and what the kernel tells about any process."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_S = 0.005

# PR_SET_PDEATHSIG looks at the thread that forked (launch.py). This one ends when the interpreter does.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


class Process(NamedTuple):
    """A process as /proc shows it."""

    pid: int
    state: str
    parent: int
    session: int

    @property
    def ended(self) -> bool:
        """Only its exit status is left, for a parent that has not asked yet."""
        return self.state in "ZX"


def start(
    command: Sequence[str],
    *,
    cwd: Path | None,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    cpus: Collection[int] | None = None,
    without_capability: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; it is killed when the harness ends, however that happens.

    ``cpus`` are those it may use. A command that cannot be run ends with status 127.
    """
    limits = [
        "-" if cpus is None else ",".join(map(str, sorted(cpus))),
        "-" if without_capability is None else str(without_capability),
    ]
    launched = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *limits, *command]

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            launched, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )

    return _starter.submit(popen).result()


def wait_ended(pid: int, timeout_s: float) -> bool:
    """Wait until a process, a child or not, has ended; its exit status stays to be fetched."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(pidfd)


def wait_until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = _POLL_S) -> bool:
    """Look again and again whether something has come true; tell whether it has within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def children(pid: int) -> list[int]:
    """List the living children of a process."""
    return sorted(process.pid for process in _all() if process.parent == pid and not process.ended)


def members(session: int) -> list[int]:
    """List the living processes of a session."""
    return sorted(process.pid for process in _all() if process.session == session and not process.ended)


def find(pid: int) -> Process | None:
    """Look at one process; None when there is no such one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc_pid_stat(5); the second field is a name in parentheses, which may itself hold some.
    state, parent, _group, session = stat.rpartition(")")[2].split()[:4]
    return Process(pid, state, int(parent), int(session))


def _all() -> Iterator[Process]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (process := find(int(entry.name))) is not None:
            yield process
