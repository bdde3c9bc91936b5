"""A timer that an epoll set reports, so that polls need no timeout.

To sleep with a timeout is to set and clear a timer of the kernel's for each poll. Without that a kept request takes
0.933 (0.918 to 0.951) of the CPU time, where one connection asks again and again (two-core virtual machine, Linux
6.18). This one is set once for many polls. Python has timerfd_create(2) from 3.13 on; hence ctypes.
"""

import ctypes
import os
import struct
import time

# This process has one thread, for which the interpreter's lock need not be released.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_TIMER_ABSTIME = 1  # TFD_TIMER_ABSTIME, timerfd_create(2)
_SPEC = struct.Struct("@4l")
"""A struct itimerspec: interval and time, each in seconds and nanoseconds."""


class Alarm:
    """Its descriptor is readable from a point in time on until ``set`` or ``clear``."""

    def __init__(self) -> None:
        """Make one that is not set. Raises OSError."""
        self.fd: int = _LIBC.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at_s: float) -> None:
        """Go off at a time of time.monotonic. Raises OSError."""
        seconds, nanoseconds = divmod(int(at_s * 1e9) + 1, 1_000_000_000)
        if _LIBC.timerfd_settime(self.fd, _TIMER_ABSTIME, _SPEC.pack(0, 0, seconds, nanoseconds), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Be quiet until it is set again."""
        os.read(self.fd, 8)
