"""Reading the folded stacks of a profile, which anybody may have written."""

from collections import Counter
from pathlib import Path
from typing import Final

from harness import plain_file
from harness.analysis import stacks
from harness.analysis.stacks import Folded
from harness.errors import BadInput

FILE: Final = "{}.folded"
"""The file's name, with that of the implementation in it."""
_LONGEST_LINE_BYTES: Final = 2**20
_DEEPEST: Final = 500
"""Frames of a stack; perf records 127."""


def read(folder: Path, impl: str) -> Counter[Folded]:
    """Return how many samples each stack of an implementation has; nothing where there is no such file.

    A last line that is cut off is left out. Raises BadInput for a line that is none, which it names.
    """
    name = FILE.format(impl)
    path, found = folder / name, Counter[Folded]()
    if Path(name).name != name or "\0" in name:  # a name that leads elsewhere
        return found
    try:
        for line in plain_file.lines(path, _LONGEST_LINE_BYTES):
            if line.is_whole:
                stack, count = stacks.parsed(line.data.decode(errors="replace"))
                found[stack[:_DEEPEST]] += count
    except FileNotFoundError:
        return Counter()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"{path}, line {line.number}: {error}; it must be as harness profile wrote it") from None
    return found
