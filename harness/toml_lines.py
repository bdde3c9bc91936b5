"""TOML with the line of each key: what a file of settings needs to be told where it is wrong.

The standard library's parser tells no lines of what it takes. So it gets one statement after the other: as many lines
as it needs to find them whole. Without tables, which are refused, statements do not depend on each other.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
MOST_LINES = 1000
MOST_LINES_OF_VALUE = 100
"""Each is read once for each that follows it, so that very long values would take minutes."""


class Entry(NamedTuple):
    """A key and its value."""

    key: str
    value: Any
    """As tomllib gives it; a dict for a table, an inline table, and a key with dots in it."""
    line: int
    """Where the key stands; the first line is 1."""


class NotToml(ValueError):  # noqa: N818  the name says what it is; "Error" would add nothing
    """A text is no TOML; the text of this says why, and ``line`` where."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def entries(text: str) -> Iterator[Entry]:
    """Yield what stands in a text, key by key.

    What follows the header of a table is told as if it stood before, so whoever takes no tables ends there. A key that
    stands there twice is told twice.

    :raises NotToml: where a statement is none, or the text has more than MOST_LINES lines
    """
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise NotToml(MOST_LINES + 1, f"there are more than {MOST_LINES} lines")
    begin = 0
    while begin < len(lines):
        found, end = _statement(lines, begin)
        for key, value in found.items():
            yield Entry(key, value, begin + 1)
        begin = end


def _statement(lines: list[str], begin: int) -> tuple[dict[str, Any], int]:
    """Read the statement that begins on a line; returns what it sets, and the number of the line after it."""
    for end in range(begin + 1, min(begin + MOST_LINES_OF_VALUE, len(lines)) + 1):
        try:
            return _load("\n".join(lines[begin:end])), end
        except tomllib.TOMLDecodeError:
            continue  # it may go on on the next line
        except ValueError as error:
            raise NotToml(begin + 1, str(error)) from None
    raise _problem(lines, begin)


def _problem(lines: list[str], begin: int) -> NotToml:
    """Say why what begins on a line is no statement, however many lines it is given."""
    try:
        _load("\n".join([*lines[begin : begin + MOST_LINES_OF_VALUE], ""]))
        why = "is no statement"
    except tomllib.TOMLDecodeError as error:
        why = str(error)
    place = _PLACE.search(why)
    why = why.removesuffix(place[0]) if place else why
    if place is None or place[1] is None:
        return NotToml(begin + 1, f"{why}; what begins here has no end within {MOST_LINES_OF_VALUE} lines")
    return NotToml(begin + int(place[1]), f"{why} (column {place[2]})")


def _load(text: str) -> dict[str, Any]:
    """Parse a text. Raises ValueError for whatever tomllib raises, TOMLDecodeError where more lines might help."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # int() of more digits than it takes
        raise ValueError("a number has too many digits") from None
