"""Standard output and error that nobody may be reading any more: a closed terminal or pipe ends no run.

What cannot be shown is left out. A run's folder has it, and ``harness report`` shows it again.
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
    """A descriptor whose reader may go."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _NOBODY_READS:
                raise
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let what this process writes to standard output and error be left out where nobody can read it."""
    # Who has put something else in their place, or closed them, knows best.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _unfailing(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _unfailing(sys.stderr)


def _unfailing(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _Raw(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True, write_through=stream.isatty()
    )
