"""Standard output and error that nobody may be reading any more: a closed terminal or pipe ends no run.

What cannot be shown is left out. A run's folder has it, and ``harness report`` shows it again.
"""

import errno
import io
import sys
from typing import TYPE_CHECKING, TextIO

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
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)


def _unfailing(stream: TextIO) -> TextIO:
    stream.flush()
    raw = _Raw(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True, write_through=stream.isatty()
    )
