"""Instructions that processes have carried out, from the CPU's own counter (perf_event_open(2)).

Where the CPU, or the virtual machine, shows none, or it is not for this user, there is no figure.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

INSTRUCTIONS = (0, 1)
"""PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS: type and number of an event."""
_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}
_CLOSE_ON_EXEC = 8
_ANY_CPU = _NO_GROUP = -1
_COUNT_BYTES = 8
_NONE = {errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS}


class CannotCount(Exception):  # noqa: N818  as CannotBuild: what happened
    """There is no such counter here; the text tells why."""


class _Attributes(ctypes.Structure):
    """The first version of ``perf_event_attr``; a counter of user and kernel mode that runs at once needs no more."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("breakpoint_type", ctypes.c_uint32),
        ("breakpoint_address", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of all threads that there were when it was opened."""

    descriptors: Sequence[int]

    def read(self) -> int:
        """Tell what it has counted so far."""
        return sum(int.from_bytes(os.read(fd, _COUNT_BYTES), "little") for fd in self.descriptors)


@contextmanager
def opened(pids: Sequence[int], event: tuple[int, int] = INSTRUCTIONS) -> Iterator[Counter]:
    """Count an event in some processes. Raises CannotCount, and OSError when a process has ended."""
    threads = [int(path.name) for pid in pids for path in Path(f"/proc/{pid}/task").iterdir()]
    with ExitStack() as stack:
        descriptors = []
        for thread in threads:
            descriptors.append(_open(thread, event))
            stack.callback(os.close, descriptors[-1])
        yield Counter(descriptors)


def _open(thread: int, event: tuple[int, int]) -> int:
    number = _SYSTEM_CALLS.get(platform.machine())
    if number is None:
        raise CannotCount(f"the number of perf_event_open(2) on {platform.machine()} is not known here")
    attributes = _Attributes(type=event[0], size=ctypes.sizeof(_Attributes), config=event[1])
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(number, ctypes.byref(attributes), thread, _ANY_CPU, _NO_GROUP, _CLOSE_ON_EXEC))
    if fd >= 0:
        return fd
    problem = ctypes.get_errno()
    if problem in _NONE:
        raise CannotCount("the CPU shows no such counter, as in most virtual machines")
    if problem in (errno.EACCES, errno.EPERM):
        raise CannotCount("it takes root, or sysctl kernel.perf_event_paranoid at 1 or lower")
    raise OSError(problem, os.strerror(problem))
