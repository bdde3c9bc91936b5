"""What a harness that was killed has left behind: found by a mark in the environment, and ended.

Servers and generators end with the harness (``launch.py``), and namespaces with the last process in them. What
survives is what a shell wrapper starts without ``exec``, so everything that is started carries PERCORE_RUN in its
environment, however indirectly it was started. It names the harness as ``PID:START``; process ids come again, but not
together with the time at which the process began (field 22 of /proc/PID/stat, in ticks since the machine's).

A program that writes its title over its environment, as nginx does, loses the mark.

A folder for a run's own use has the same mark in a file, as long as it is nothing to be kept. A setting of the machine
has a record of its own (``machine_setting.py``).
"""

import os
import select
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.machine_setting import SOCK_FLOW_ENTRIES

_MARK = "PERCORE_RUN"
_PROC = Path("/proc")
_STATE, _START_TIME = 0, 19
"""Where in /proc/PID/stat, behind the command's name, these stand."""
_END_TIMEOUT_S = 2.0
_FOLDERS = "percore-"
"""What the names of all temporary folders begin with."""
_OWNER = "owner"
_PASSES = 10
"""What is about to be killed may have a child first."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that was ended."""

    pid: int
    command: str


def mark() -> dict[str, str]:
    """Return the environment variable that what this harness starts is to have."""
    pid = os.getpid()
    return {_MARK: f"{pid}:{_stat(pid)[_START_TIME]}"}


def clear_away(tell: Callable[[str], None]) -> None:
    """End, remove and switch off what runs that died have left, and tell what that was, a line each."""
    for one in clean_up():
        tell(f"ended what a run that died has left: process {one.pid} ({one.command})")
    if SOCK_FLOW_ENTRIES.clear_away():
        tell(f"switched off what a run that died has left on: {SOCK_FLOW_ENTRIES.name}")
    for folder in remove_folders():
        tell(f"removed what a run that died has left: {folder}")


def clean_up() -> tuple[Leftover, ...]:
    """End every process that was started by a harness that lives no more, and by no other; tell which.

    Those of other users are ended only by root. Waits up to two seconds for each to be gone.
    """
    ended: dict[int, Leftover] = {}
    for _ in range(_PASSES):
        found = {left.pid: left for left in _kill_orphans()}
        if found.keys() <= ended.keys():
            break
        ended.update(found)
    return tuple(ended.values())


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Make a folder for as long as this lasts; the next run removes it if this one dies meanwhile. Raises OSError."""
    folder = new_folder(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder(purpose: str) -> Path:
    """Make a temporary folder that the next run removes if this one dies before ``keep_folder``. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDERS}{purpose}-"))
    try:
        (folder / _OWNER).write_text(f"{_pid_namespace()} {mark()[_MARK]}")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def keep_folder(folder: Path) -> None:
    """Leave a folder to the user, and no more to the next run."""
    (folder / _OWNER).unlink(missing_ok=True)


def remove_folders() -> list[Path]:
    """Remove the temporary folders of this user's runs that live no more; tell which."""
    return [folder for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*")) if _removed(folder)]


def _removed(folder: Path) -> bool:
    try:
        found = folder.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            return False
        namespace, _, owner = (folder / _OWNER).read_text(errors="replace").partition(" ")
    except OSError:
        return False  # one that is kept, or somebody else's
    # In another process id namespace (a container's) the number means another process.
    if namespace != _pid_namespace() or not _lives_no_more(owner):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _pid_namespace() -> str:
    return str((_PROC / "self/ns/pid").stat().st_ino)


def _kill_orphans() -> Iterator[Leftover]:
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            # With the descriptor in hand, what is looked at and what is killed are the same process.
            pidfd = os.pidfd_open(int(entry.name))
            try:
                if _is_orphan(entry):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    _wait_ended(pidfd)
                    yield Leftover(int(entry.name), command)
            finally:
                os.close(pidfd)


def _is_orphan(process: Path) -> bool:
    """Tell whether a process has the mark of a harness that lives no more.

    In another process id namespace (a container's) the mark's number means another process.
    """
    prefix = f"{_MARK}=".encode()
    marks = [entry for entry in (process / "environ").read_bytes().split(b"\0") if entry.startswith(prefix)]
    if not marks or not (process / "ns/pid").samefile("/proc/self/ns/pid"):
        return False
    return _lives_no_more(marks[0].removeprefix(prefix).decode(errors="replace"))


def _lives_no_more(owner: str) -> bool:
    """Tell whether the harness that a mark names has ended."""
    pid, _, start_time = owner.partition(":")
    if not pid.isascii() or not pid.isdigit():
        return False  # not one of ours
    try:
        fields = _stat(int(pid))
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[_START_TIME] != start_time or fields[_STATE] in {"Z", "X"}


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; the name before it may hold anything but its own end."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _wait_ended(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_END_TIMEOUT_S * 1000)
