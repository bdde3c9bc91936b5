"""A run's folder while the run writes to it: what is new since the last look, however long the whole has become."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness import plain_file, results
from harness.errors import BadInput
from harness.schema import Slice

_AT_ONCE_BYTES = 2**20
_LONGEST_LINE_BYTES = 4 * 2**20


class GrowingRun:
    """Reads a run that may be under way; a context manager. Each method raises BadInput for what cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = results.load_comparison(path)
        self._plan_is = self._stamp()
        self._read = results.slice_reader(self.plan)
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(plain_file.opened(path / results.SLICES))
            except FileNotFoundError:
                raise BadInput(f"{path / results.SLICES}: cannot be read: there is no such file") from None
            self._opened = stack.pop_all()
        self._line = 0
        self._rest = b""

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed it meanwhile."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def plan_has_changed(self) -> bool:
        """Read the plan again if it was written anew, and tell whether it was."""
        stamp = self._stamp()
        if stamp == self._plan_is:
            return False
        self.plan, self._plan_is = results.load_comparison(self.path), stamp
        self._read = results.slice_reader(self.plan)
        return True

    def new_slices(self) -> Iterator[Slice]:
        """Yield the slices of all whole lines that were not read yet; the rest of a line waits for its end."""
        self._forget_what_was_cut_off()
        while data := self._file.read(_AT_ONCE_BYTES):
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _LONGEST_LINE_BYTES:
                raise BadInput(f"{self._named(self._line + 1)}: is longer than any may be")
            for line in lines:
                self._line += 1
                try:
                    yield self._read(line)
                except ValueError as error:
                    raise BadInput(f"{self._named(self._line)}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget_what_was_cut_off(self) -> None:
        """Go back to the end of the last whole line where a run that goes on has dropped what followed it."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(self._file.tell() - len(self._rest))
            self._rest = b""

    def _named(self, line: int) -> str:
        return f"{self.path / results.SLICES}, line {line}"

    def _stamp(self) -> tuple[int, int]:
        """Tell one plan from the next: each is a file of its own that takes the place of the last."""
        try:
            found = (self.path / results.PLAN).stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)
