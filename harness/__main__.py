"""The ``harness`` command, and ``python -m harness``.

Ctrl-C, SIGTERM and SIGHUP are taken care of before anything else is imported, which takes most of a second.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from harness.streams import lost_output, outlive_readers

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
"""As a shell reports a program that SIGINT has ended."""


def main() -> NoReturn:
    """Run the command line; an interrupt, and output that is not whole, are told in one line."""
    for number in _signals():
        signal.signal(number, _interrupt)
    outlive_readers()
    try:
        from harness.cli import run  # noqa: PLC0415  see above

        with _nothing_left():
            status = run()
    except KeyboardInterrupt:
        sys.stderr.write("harness: interrupted\n")
        status = EXIT_INTERRUPTED
    sys.exit(_status_if_written(status))


def _status_if_written(status: int) -> int:
    """Say where standard output could not be written; returns the exit status."""
    lost = lost_output()
    if lost is None:
        return status
    sys.stderr.write(f"harness: error: standard output: cannot be written: {lost.strerror}\n")
    return status or EXIT_FAILED


@contextmanager
def _nothing_left() -> Iterator[None]:
    """End what has forked away from what was started meanwhile; runs can be reported on where there is no such way."""
    if sys.platform != "linux":
        yield
        return
    from harness import lineage  # noqa: PLC0415  see above

    with lineage.adopting():
        yield


def _signals() -> Iterator[signal.Signals]:
    """Return what ends a run early; a terminal that closes does not where nohup(1) has asked for that."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End servers and generators, and report what was measured; further signals do not cut that short."""
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
