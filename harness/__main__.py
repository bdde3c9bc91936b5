"""The ``harness`` command, and ``python -m harness``.

Ctrl-C and SIGTERM are taken care of before anything else is imported, which takes most of a second.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
"""As a shell reports a program that SIGINT has ended."""


def main() -> NoReturn:
    """Run the command line; an interrupt is told in one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        from harness.cli import run  # noqa: PLC0415  see above

        status = run()
    except KeyboardInterrupt:
        sys.stderr.write("harness: interrupted\n")
        status = EXIT_INTERRUPTED
    sys.exit(status)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End servers and generators, and report what was measured; further signals do not cut that short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
