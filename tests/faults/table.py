"""The fault table of DESIGN.md, made from the names of the tests beside this file: ``make faults``.

A test here is named ``test_FAULT__PROMISE``. Names are read and nothing is imported, so the table can be made without
what the tests need.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DESIGN = Path(__file__).parents[2] / "DESIGN.md"
BEGIN = "<!-- made by `make faults` from the names of the tests -->"
END = "<!-- end of what `make faults` makes -->"
_PREFIX = "test_"
_BETWEEN = "__"
_HEAD = ("| fault | promise | test in `tests/faults` |", "| --- | --- | --- |")
_PER_IMPLEMENTATION = "impl"
"""The fixture that runs a test once for each implementation."""
_CAPITALS = (
    "CPU CPUs EMFILE FIFO FIN HTTP JSON NaN NUL RST SIGCHLD SIGCONT SIGHUP SIGINT SIGKILL SIGSTOP SIGTERM TCP UTF"
)
_AS_WRITTEN = {word.lower(): word for word in _CAPITALS.split()}
"""Words that a name has in lower case and a text has not."""


class BadTableError(Exception):
    """A name that is not in two parts, or a text without the place for the table; the message says which."""


@dataclass(frozen=True)
class Row:
    """One test: what goes wrong, and what holds all the same."""

    fault: str
    promise: str
    file: str
    per_implementation: bool

    def __str__(self) -> str:
        tests = f"`{self.file}`" + (", each implementation" if self.per_implementation else "")
        return f"| {self.fault} | {self.promise} | {tests} |"


def rows(folder: Path) -> list[Row]:
    """Read the names of a folder's tests, by file and in the order of the file.

    :raises BadTableError: for a test whose name has not two parts, naming it and its file
    """
    return [row for file in sorted(folder.glob("test_*.py")) for row in _rows_of(file)]


def _rows_of(file: Path) -> Iterator[Row]:
    tests = [
        node
        for node in ast.walk(ast.parse(file.read_bytes(), file.name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(_PREFIX)
    ]
    for test in sorted(tests, key=lambda test: test.lineno):
        fault, *promises = test.name.removeprefix(_PREFIX).split(_BETWEEN)
        if len(promises) != 1 or not fault.strip("_") or not promises[0].strip("_"):
            raise BadTableError(f"{file.name}:{test.lineno}: {test.name}: must be named test_FAULT__PROMISE")
        arguments = {argument.arg for argument in test.args.args}
        yield Row(_text(fault), _text(promises[0]), file.name, _PER_IMPLEMENTATION in arguments)


def _text(part: str) -> str:
    return " ".join(_AS_WRITTEN.get(word, word) for word in part.split("_"))


def with_table(text: str, table: list[Row]) -> str:
    """Return the text with the table between its two marks.

    :raises BadTableError: when the text has not each mark once, the begin first
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise BadTableError(f"the table's place must be between one line {BEGIN!r} and one line {END!r}")
    return "\n".join([before + BEGIN, *_HEAD, *map(str, table), END + after])


def main() -> int:
    """Write the table into DESIGN.md; return the exit status."""
    try:
        DESIGN.write_text(with_table(DESIGN.read_text(encoding="utf-8"), rows(Path(__file__).parent)), encoding="utf-8")
    except BadTableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
