"""Processes that end with the harness, and what the kernel tells about any process."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from harness import leftovers, lineage

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_S = 0.005
_MOST_OUTPUT_BYTES = 65_536
"""Of what a command prints on each of its two streams."""
Stream = IO[bytes] | int
"""As in subprocess: a file, a descriptor, or one of its constants."""
_ENDED = {None, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
"""A zombie has ended; its exit status is left for a parent that has not asked yet."""
_ENDS_WITHIN_S = 10.0
"""How long a command may take to end that has closed its standard output."""
_KERNEL_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()
"""Without its lists (CONFIG_PROC_CHILDREN) all processes of the machine are looked at, which takes milliseconds."""

# PR_SET_PDEATHSIG looks at the thread that forked (launch.py). This one ends when the interpreter does. What it starts
# may use the CPUs that it may use: else those of whoever starts first, perhaps in ``staying_on``.
_starter = ThreadPoolExecutor(1, "starter", initializer=os.sched_setaffinity, initargs=(0, os.sched_getaffinity(0)))


def start(
    command: Sequence[str],
    *,
    cwd: Path | None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream | None,
    stderr: Stream | None,
    cpus: Collection[int] | None = None,
    without_capability: int | None = None,
    namespace_pid: int | None = None,
    preload: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; it is killed when the harness ends, however that happens.

    ``cpus`` are those it may use, ``namespace_pid`` is a process whose network namespace it is to be in, ``preload``
    is the path of a library that the command, and nothing else, has in LD_PRELOAD. Pipes are not buffered. A command
    that cannot be run ends with status 127.
    """
    limits = [
        "-" if namespace_pid is None else str(namespace_pid),
        "-" if cpus is None else ",".join(map(str, sorted(cpus))),
        "-" if without_capability is None else str(without_capability),
        "-" if preload is None else preload,
    ]
    launched = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *limits, *command]

    def popen() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            launched,
            bufsize=0,
            cwd=cwd,
            env={**os.environ, **leftovers.mark()},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        lineage.remember(process)
        return process

    return _starter.submit(popen).result()


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a command."""

    status: int
    """Negative for a signal, as in ``subprocess``."""
    output: str
    errors: str
    """What it printed on standard output and error, 64 KiB of each at most."""


def output(command: Sequence[str], cwd: Path | None, timeout_s: float) -> str:
    """Run a command that should end by itself, and return what it printed on standard output; see ``finish``."""
    return finish(command, cwd, timeout_s).output


def finish(command: Sequence[str], cwd: Path | None, timeout_s: float, preload: str | None = None) -> Finished:
    """Run a command that should end by itself; ``preload`` is as in ``start``.

    Nothing of it is left afterwards, and what prints more than is taken is ended. Raises subprocess.TimeoutExpired.
    """
    process = start(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preload=preload)
    try:
        printed, errors = _read(process, timeout_s)
    finally:
        lineage.end(process.pid)
        status = process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Finished(status, printed.decode(errors="replace"), errors.decode(errors="replace"))


def _read(process: "subprocess.Popen[bytes]", timeout_s: float) -> tuple[bytes, bytes]:
    """Read a process's standard output to its end, or as much as is taken, and what comes on standard error meanwhile.

    Raises subprocess.TimeoutExpired.
    """
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the process was started without a pipe")
    deadline_s = time.monotonic() + timeout_s
    poll = select.poll()
    printed = dict.fromkeys((process.stdout, process.stderr), b"")
    by_fd = {stream.fileno(): stream for stream in printed}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    is_at_end = False
    while not is_at_end and max(map(len, printed.values())) < _MOST_OUTPUT_BYTES:
        ready = poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
        if not ready:
            raise subprocess.TimeoutExpired(process.args, timeout_s)
        for fd, _ in ready:
            data = _read_some(by_fd[fd], printed)
            if not data:
                poll.unregister(fd)
                is_at_end |= by_fd[fd] is process.stdout
    if is_at_end and wait_ended(process.pid, _ENDS_WITHIN_S):  # else its status would be that of being killed
        os.set_blocking(process.stderr.fileno(), False)  # somebody else may hold it open
        while _read_some(process.stderr, printed):
            pass
    return printed[process.stdout], printed[process.stderr]


def _read_some(stream: IO[bytes], printed: dict[IO[bytes], bytes]) -> bytes | None:
    """Add to what was printed on a stream, up to what is taken; return that, or nothing when there is no more."""
    data = stream.read(_MOST_OUTPUT_BYTES - len(printed[stream]))
    printed[stream] += data or b""
    return data


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


@contextmanager
def staying_on(cpus: Collection[int]) -> Iterator[None]:
    """Let this thread run on some CPUs alone meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def children(pid: int) -> list[int]:
    """List the living children of a process."""
    found = _children(pid)
    while found != (again := _children(pid)):  # while one ends, another may be passed over (proc_tid_children(5))
        found = again
    return sorted(child for child in found if state(child) not in _ENDED)


def _children(pid: int) -> list[int]:
    try:
        if _KERNEL_LISTS_CHILDREN:
            lists = Path(f"/proc/{pid}/task").glob("*/children")
            return [int(child) for each in lists for child in each.read_text().split()]
        return [child.pid for child in psutil.Process(pid).children()]
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return []


def members(session: int) -> list[int]:
    """List the living processes of a session."""
    return sorted(pid for pid in psutil.pids() if _session(pid) == session and state(pid) not in _ENDED)


def state(pid: int) -> str | None:
    """Return one of psutil's ``STATUS_`` texts; None when there is no such process."""
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
