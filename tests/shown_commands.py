"""Commands as help and documentation show them: found in the text, and parsed by the harness of today."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli import cli

PROGRAMS = {"harness", ".venv/bin/harness"}
_BLOCK_LINE = re.compile(r"^(?: {4}|\$ )\s*(?:\$ )?((?:\.venv/bin/)?harness .*)$", re.MULTILINE)
_INLINE = re.compile(r"`((?:\.venv/bin/)?harness [^`]+)`")
_ENDS_A_COMMAND = "|>&;"


def in_blocks(path: Path) -> Iterator[str]:
    """Yield every harness command in a Markdown file's blocks of code, which can be typed as it stands."""
    yield from _BLOCK_LINE.findall(path.read_text())


def in_text(path: Path) -> Iterator[str]:
    """Yield those between backquotes in its text, which may leave out what they are not about."""
    for inline in _INLINE.findall(path.read_text()):
        yield " ".join(inline.split())


def arguments(command: str) -> list[str]:
    """Split a command as a shell would, up to a pipe or the like and without a comment; the program is left out."""
    program, *words = shlex.split(command, comments=True)
    assert program in PROGRAMS, command
    return words[: next((index for index, word in enumerate(words) if word[:1] in set(_ENDS_A_COMMAND)), len(words))]


def parse(command: str) -> None:
    """See that the options are there and take these values; raises what the command line would refuse with.

    A name by itself (``harness diff``) stands for the command, and only has to be there.
    """
    name, *rest = arguments(command) or ["--help"]
    if name.isupper() or name.startswith("-"):
        return
    with click.Context(cli, info_name="harness") as context:
        found = cli.resolve_command(context, [name])[1]
        assert found is not None, command
        if rest and rest != ["--help"]:
            found.make_context(name, rest, parent=context)
