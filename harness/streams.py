"""Standard output and error that cannot be written: a closed terminal or pipe, or a full disk, ends no run.

What cannot be shown is left out. A run's folder has it, and ``harness report`` shows it again. Where somebody would
have read it, that is told in the end.
"""

import errno
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOBODY_READS = {errno.EPIPE, errno.EIO}
"""A pipe whose reader has ended; a terminal that was closed."""


class _Raw(io.FileIO):
    """A descriptor whose reader may go, or whose disk may be full."""

    failure: OSError | None = None
    """The first that lost something which somebody would have read."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _NOBODY_READS and self.failure is None:
                self.failure = error
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let what this process writes to standard output and error be left out where nobody can read it."""
    # Who has put something else in their place, or closed them, knows best.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _unfailing(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _unfailing(sys.stderr)


def lost_output() -> OSError | None:
    """Return what kept standard output from being written whole; None where it was, or where nobody reads it."""
    if not isinstance(sys.stdout, io.TextIOWrapper) or not isinstance(sys.stdout.buffer, io.BufferedWriter):
        return None
    sys.stdout.flush()
    return sys.stdout.buffer.raw.failure if isinstance(sys.stdout.buffer.raw, _Raw) else None


def _unfailing(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _Raw(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True, write_through=stream.isatty()
    )
