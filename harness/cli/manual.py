"""What a command's help says beyond its options: examples, exit statuses, files, what else there is to see."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click

from harness.cli.ending import EXIT_FAILED, STATUSES

_UNWRITTEN: Final = "done, but standard output could not be written, as on a full disk"


@dataclass(frozen=True)
class Example:
    """A command that can be typed as it stands, but for names in capitals such as RUN."""

    purpose: str
    command: str


@dataclass(frozen=True)
class Manual:
    """The text of one command."""

    examples: tuple[Example, ...]
    statuses: Mapping[int, str] = field(default_factory=dict)
    """What an exit status means here, where more can be said than ``ending.STATUSES`` does."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What it reads or writes, and what that is for."""
    see_also: tuple[str, ...] = ()
    """Other commands, and files of the documentation."""

    def exit_statuses(self) -> Iterator[tuple[str, str]]:
        """Yield each with its meaning. A command that says nothing of 1 ends with that for its output alone."""
        for status, meaning in {**STATUSES, EXIT_FAILED: _UNWRITTEN, **self.statuses}.items():
            yield str(status), meaning


class Documented(click.Command):
    """A command with a manual."""

    def __init__(self, *args: Any, manual: Manual, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.manual = manual

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what follows the options."""
        _write_examples(formatter, self.manual.examples)
        with formatter.section("Exit status"):
            formatter.write_dl(list(self.manual.exit_statuses()))
        if self.manual.files:
            with formatter.section("Files"):
                formatter.write_dl(list(self.manual.files.items()))
        if self.manual.see_also:
            with formatter.section("See also"):
                formatter.write_text(", ".join(self.manual.see_also))
        super().format_epilog(ctx, formatter)


def _write_examples(formatter: click.HelpFormatter, examples: tuple[Example, ...]) -> None:
    """Write them so that each command is a line of its own, however long, to be copied."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write_text(f"{example.purpose}:")
            formatter.write(f"{'':{formatter.current_indent + 2}}{example.command}\n")
