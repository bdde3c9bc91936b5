"""How commands end, for a shell: the exit statuses, the same for all."""

from collections.abc import Mapping
from typing import Final

from harness.__main__ import EXIT_FAILED, EXIT_INTERRUPTED

__all__ = ["EXIT_BAD_INPUT", "EXIT_DONE", "EXIT_FAILED", "EXIT_INTERRUPTED", "STATUSES"]

EXIT_DONE, EXIT_BAD_INPUT = 0, 2
STATUSES: Final[Mapping[int, str]] = {
    EXIT_DONE: "done",
    EXIT_FAILED: "done, but something failed, or was found that should not be; or not all could be done",
    EXIT_BAD_INPUT: "bad input, or what is needed is not there: one line on standard error says what would be right",
    EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal; nothing that it started is left running",
}
"""What each means everywhere; a command's manual says what its own 1 and 130 mean beyond that."""
