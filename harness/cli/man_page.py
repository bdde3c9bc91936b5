"""A command's help as a manual page: the same texts, in the macros of man(7)."""

import inspect
from collections.abc import Iterable, Iterator

import click

from harness.cli.lazy_group import LazyGroup
from harness.cli.manual import Documented


def of_command(command: Documented, context: click.Context) -> str:
    """Write the page of one command; ``context`` is its own."""
    name, manual = f"harness-{command.name}", command.manual
    summary, _, description = inspect.cleandoc(command.help or "").partition("\n")
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    lines = [
        *_head(name, summary),
        *_section("SYNOPSIS", [f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"]),
        *_section("DESCRIPTION", [summary, *description.strip().split("\n\n")]),
        *_definitions("OPTIONS", records),
        *_definitions("EXAMPLES", ((example.command, f"{example.purpose}.") for example in manual.examples)),
        *_definitions("EXIT STATUS", manual.exit_statuses()),
        *_definitions("FILES", manual.files.items()),
        *_section("SEE ALSO", [", ".join(_reference(other) for other in manual.see_also)]),
    ]
    return "\n".join(lines) + "\n"


def of_all(group: LazyGroup, context: click.Context) -> str:
    """Write the page of the program, which lists its commands."""
    summary, _, description = inspect.cleandoc(group.help or "").partition("\n")
    lines = [
        *_head("harness", summary),
        *_section("SYNOPSIS", [f"harness {' '.join(group.collect_usage_pieces(context))}"]),
        *_section("DESCRIPTION", [summary, *description.strip().split("\n\n")]),
    ]
    for section in group.sections:
        listed = ((f"harness-{one.name}(1)", one.summary) for one in section.commands)
        lines += _definitions(section.title.upper(), listed)
    return "\n".join([*lines, *_definitions("EXIT STATUS", group.exit_statuses())]) + "\n"


def _head(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{name.upper()}" 1 "" percore'
    yield from _section("NAME", [f"{name} - {summary[:1].lower()}{summary[1:].rstrip('.')}"])


def _section(title: str, paragraphs: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(filter(None, paragraphs)):
        yield ".PP" if number else f".SH {title}"
        yield _text(text)


def _definitions(title: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for number, (term, meaning) in enumerate(entries):
        if not number:
            yield f".SH {title}"
        yield from (".TP", rf"\fB{_text(term)}\fR", _text(meaning))


def _reference(other: str) -> str:
    program, space, command = other.partition(" ")
    return f"{program}-{command}(1)" if space else other


def _text(text: str) -> str:
    r"""Keep what is text from being taken for a request: ``\``, a hyphen, and ``.`` or ``'`` at the begin."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{plain}" if plain.startswith(".") else plain
