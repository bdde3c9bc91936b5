"""All that comes from a process that was started, wherever it went, so that nothing of it is left.

A process that forks away (daemon(3)) leaves the session that it was started in, and its parent ends. Three things give
it away, and each is lost in another case:

- its session, which is that of the process that was started, unless it has called setsid(2);
- PERCORE_PART in its environment (``launch.py``), the process id of what was started, unless it has written over its
  environment, as nginx does, or emptied it;
- its parents, unless they have ended. Then the kernel gives it to the harness, which has asked for that
  (PR_SET_CHILD_SUBREAPER in prctl(2)); it cannot be told any more whose it was, so it is ended with the block.
"""

import os
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO

from harness.launch import PART, prctl

_PR_SET_CHILD_SUBREAPER = 36
_ZOMBIE_OR_DEAD = b"ZX"
_END_TIMEOUT_S = 3.0
_LOOK_EVERY_S = 0.005
_known: "weakref.WeakSet[subprocess.Popen[bytes]]" = weakref.WeakSet()
"""What ``harness.processes`` has started."""
_adopting = False


@dataclass(frozen=True, slots=True)
class _Process:
    """What /proc tells of a process (proc_pid_stat(5))."""

    pid: int
    parent: int
    session: int
    ended: bool
    """Whether it is a zombie: only its exit status is left."""


@contextmanager
def adopting() -> Iterator[None]:
    """Let this process be the parent of whatever loses its own meanwhile, and end all of that. Raises OSError."""
    global _adopting  # noqa: PLW0603  it is an attribute of the whole process
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _adopting = True
    try:
        yield
    finally:
        end_strays()
        _adopting = False
        prctl(_PR_SET_CHILD_SUBREAPER, 0)


def remember(process: "subprocess.Popen[bytes]") -> None:
    """Take a process as one that was started on purpose."""
    _known.add(process)


def of(started: int) -> list[int]:
    """List the living processes that come from the one that was started with this id, itself included."""
    living = _living(_all())
    found = {one.pid for one in living if started in {one.pid, one.session} or _is_part(one.pid, started)}
    return sorted(_with_descendants(found, living) - {os.getpid()})


def end(started: int) -> bool:
    """Kill all that comes from a process that was started; tell whether all is gone within three seconds."""
    return _kill(lambda: of(started))


def end_strays() -> bool:
    """Kill what this process has adopted, and fetch its exit status; tell whether all is gone within three seconds.

    Nothing is done in a process that is not ``adopting``: its children may be somebody else's concern.
    """
    return _kill(_strays)


def _strays() -> list[int]:
    if not _adopting:
        return []
    processes = _all()
    # After that: what another thread starts meanwhile is known by now, or was not seen.
    known = {process.pid for process in tuple(_known) if process.returncode is None}
    adopted = {one for one in processes if one.parent == os.getpid() and one.pid not in known}
    for one in adopted:
        if one.ended:
            with suppress(ChildProcessError):  # somebody has fetched it meanwhile
                os.waitpid(one.pid, os.WNOHANG)
    return sorted(_with_descendants({one.pid for one in adopted if not one.ended}, _living(processes)))


def _kill(find: Callable[[], Iterable[int]]) -> bool:
    """Kill until there is nothing left to be found: what is about to be killed may have a child first.

    What has become another user's cannot be killed, and counts as left.
    """
    deadline_s = time.monotonic() + _END_TIMEOUT_S
    while found := list(find()):
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _with_descendants(found: set[int], living: Iterable[_Process]) -> set[int]:
    """Add children, and theirs."""
    found = set(found)
    while more := {one.pid for one in living if one.parent in found} - found:
        found |= more
    return found


def _living(processes: Iterable[_Process]) -> list[_Process]:
    return [one for one in processes if not one.ended]


def _all() -> list[_Process]:
    names = os.listdir("/proc")  # noqa: PTH208  Path objects for hundreds
    return [one for one in (_read(int(name)) for name in names if name.isdigit()) if one is not None]


def _read(pid: int) -> _Process | None:
    try:
        fields = _contents(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Process(pid, int(fields[1]), int(fields[3]), ended=fields[0] in _ZOMBIE_OR_DEAD)


def _is_part(pid: int, started: int) -> bool:
    """Tell whether a process says that it comes from another; False where it is another user's."""
    try:
        return f"{PART}={started}".encode() in _contents(f"/proc/{pid}/environ").split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _contents(path: str) -> bytes:
    """Read a file of one process among hundreds, where buffers and Path objects take most of the time."""
    with FileIO(path) as file:
        return file.readall()
