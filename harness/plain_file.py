"""Reads a file that anybody may have put there: a plain one alone, and never more of it than it may hold.

What is no plain file (a folder, a FIFO, a device, a socket) is refused without waiting for what may never come, and
without reading what may never end.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from harness.errors import BadInput

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_MIB = 2**20


class Line(NamedTuple):
    """One line of a file, without its end."""

    number: int
    """The first is 1."""
    data: bytes
    is_whole: bool
    """Whether its end is there: the last one's is not when the writer was killed in the middle of it."""


def read(path: Path, most_bytes: int) -> bytes:
    """Return what a file holds.

    :raises BadInput: when it cannot be read, is no plain file, or is larger than ``most_bytes``
    :raises FileNotFoundError: when there is none
    """
    with opened(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise BadInput(f"{path}: is larger than {most_bytes // _MIB} MiB, which no file of a run is")
    return data


def lines(path: Path, longest_bytes: int) -> Iterator[Line]:
    """Yield the lines of a file one by one; no more than one of them is held in memory.

    :raises BadInput: when it cannot be read, is no plain file, or has a line of more than ``longest_bytes``
    :raises FileNotFoundError: when there is none
    """
    with opened(path) as file:
        number = 0
        while line := file.readline(longest_bytes + 1):
            number += 1
            if len(line) > longest_bytes:
                raise BadInput(f"{path}, line {number}: is longer than {longest_bytes // _MIB} MiB, which none may be")
            yield Line(number, line.removesuffix(b"\n"), line.endswith(b"\n"))


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a plain file for reading. Raises as ``read`` does."""
    try:
        # Without O_NONBLOCK the open of a FIFO waits for a writer (fifo(7)); a plain file does not care.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _check_plain(path, os.fstat(descriptor).st_mode)
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _check_plain(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise BadInput(f"{path}: cannot be read: is {kind}, not a plain file")
