"""A group of commands that are imported when they are called: help and completion must be there at once."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.cli.ending import STATUSES


@dataclass(frozen=True)
class Listed:
    """A command as the list has it; its module is not imported for that."""

    name: str
    """A name of ``harness.cli.MODULE`` is called the same, where ``where`` says nothing else."""
    summary: str
    """The first line of its help."""
    where: str = ""
    """``MODULE:NAME`` within ``harness.cli``."""

    def load(self) -> click.Command:
        """Import it."""
        module, _, name = (self.where or f"{self.name}:{self.name}").partition(":")
        found = getattr(importlib.import_module(f"harness.cli.{module}"), name)
        if not isinstance(found, click.Command):
            raise TypeError(f"harness.cli.{module}:{name} is no command")
        return found


@dataclass(frozen=True)
class Section:
    """Commands that help lists together."""

    title: str
    commands: tuple[Listed, ...]


class LazyGroup(click.Group):
    """Commands in sections."""

    def __init__(self, *args: Any, sections: Sequence[Section], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.sections = sections
        self._listed = {one.name: one for section in sections for one in section.commands}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's own signature
        """Return the names as they are listed."""
        return list(self._listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  likewise
        """Import a command; None where there is none of this name."""
        listed = self._listed.get(cmd_name)
        return None if listed is None else listed.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises UsageError, which names those that are meant perhaps."""
        name = args[0]
        if name not in self._listed and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, self._listed)
            meant = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(self._listed)}"
            raise click.UsageError(f"{name!r}: no such command; {meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  likewise
        """Write all sections, with one column of names."""
        widest = max(map(len, self._listed))
        for section in self.sections:
            with formatter.section(section.title):
                formatter.write_dl([(one.name.ljust(widest), one.summary) for one in section.commands])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what is the same for all of them."""
        with formatter.section("Exit status, the same for all"):
            formatter.write_dl(self.exit_statuses())
        super().format_epilog(ctx, formatter)

    def exit_statuses(self) -> list[tuple[str, str]]:
        """Return each with what it means everywhere."""
        return [(str(status), meaning) for status, meaning in STATUSES.items()]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return commands that begin like this, and options."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        listed = self._listed.values()
        return [
            CompletionItem(one.name, help=one.summary) for one in listed if one.name.startswith(incomplete)
        ] + options
