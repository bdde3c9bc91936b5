"""Parts of the lines that mend: names that a shell takes as they are, and this harness, wherever it is started from."""

import shlex
import sys
from pathlib import Path

_SPECIAL = "\\'"


def quoted(name: str) -> str:
    """Return a name for bash(1); what is no visible character is escaped in its notation ``$'...'``."""
    if name.isprintable():
        return shlex.quote(name)
    return f"$'{''.join(map(_escaped, name))}'"


def harness(*arguments: str) -> str:
    """Return a command of this harness, by its whole path: root's PATH has none."""
    beside = Path(sys.executable).with_name("harness")
    program = [str(beside)] if beside.exists() else [sys.executable, "-m", "harness"]
    return " ".join(map(quoted, [*program, *arguments]))


def _escaped(char: str) -> str:
    if char in _SPECIAL:
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
