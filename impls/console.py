"""Standard error, which must never hold the parent up: it has signals to obey and workers to watch."""

import os
import select
from contextlib import suppress

_STDERR = 2
_LONGEST = 1000
"""Characters of a line. A pipe reported as writable takes PIPE_BUF bytes, which is 4096, without blocking (pipe(7))."""


def open_missing_streams() -> None:
    """Give /dev/null to standard streams that were closed, so that no listener gets one of their numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest free number


def say(text: str) -> None:
    """Write one line; where nobody takes it, it is left out."""
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    if not poll.poll(0):
        return
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    # Whoever read the lines has gone, or the disk behind them is full: no reason to stop serving.
    with suppress(OSError):
        os.write(_STDERR, f"{line}\n".encode(errors="backslashreplace"))
