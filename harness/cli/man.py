"""The command man."""

import click

from harness.cli import man_page
from harness.cli.ending import EXIT_DONE
from harness.cli.lazy_group import LazyGroup
from harness.cli.manual import Documented, Example, Manual

_MANUAL = Manual(
    examples=(
        Example("Read about a command", "harness man compare | man -l -"),
        Example("Install it for man", "harness man compare >/usr/local/share/man/man1/harness-compare.1"),
    ),
    see_also=("harness completion",),
)


def _commands(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    root = context.find_root().command
    names = root.list_commands(context) if isinstance(root, LazyGroup) else []
    return [name for name in names if name.startswith(incomplete)]


@click.command(cls=Documented, manual=_MANUAL)
@click.argument("name", metavar="[COMMAND]", default="", shell_complete=_commands)
@click.pass_context
def man(context: click.Context, name: str) -> int:
    """Print the manual page of a command, or of all.

    It is in the format of man(1), and has what --help has.
    """
    root = context.find_root()
    group = root.command
    if not isinstance(group, LazyGroup):
        raise TypeError("man is a command of a LazyGroup")
    if not name:
        click.echo(man_page.of_all(group, root), nl=False)
        return EXIT_DONE
    command = group.resolve_command(root, [name])[1]
    if not isinstance(command, Documented):
        raise TypeError(f"{name} has no manual")
    with click.Context(command, info_name=name, parent=root) as own:
        click.echo(man_page.of_command(command, own), nl=False)
    return EXIT_DONE
