"""The ``harness`` command run in this process, as fast as a function: what it prints and how it ends."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from unittest import mock

from harness import cli
from harness.cli.ending import EXIT_BAD_INPUT


@dataclass(frozen=True)
class Said:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def moves_no_cursor(self) -> bool:
        """Whether a terminal shows all of it as text: nothing but lines of visible characters."""
        return all(char == "\n" or char.isprintable() for char in self.out + self.err)

    @property
    def is_one_line_of_error(self) -> bool:
        """Whether it was refused in one line."""
        return self.status == EXIT_BAD_INPUT and self.err.startswith("harness: error: ") and self.err.count("\n") == 1


def run(*arguments: object) -> Said:
    """Run a command. What it lets through beside an exit status is an error of the test."""
    out, err = StringIO(), StringIO()
    with mock.patch.object(sys, "argv", ["harness", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        status = cli.run()
    return Said(status, out.getvalue(), err.getvalue())
