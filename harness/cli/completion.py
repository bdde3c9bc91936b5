"""The command completion."""

import click

from harness.cli.ending import EXIT_DONE
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shells import SHELLS

_MANUAL = Manual(
    examples=(
        Example(
            "Install it for bash; it is there in the next one that is opened", "harness completion bash >>~/.bashrc"
        ),
        Example("For zsh, behind its compinit", "harness completion zsh >>~/.zshrc"),
        Example("For fish", "harness completion fish >~/.config/fish/completions/harness.fish"),
    )
)


@click.command(cls=Documented, manual=_MANUAL)
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands and values.

    Values are names of implementations, with commas between them, workloads and the like, runs in results/ and their
    cells.
    """
    root = context.find_root()
    click.echo(SHELLS[shell](root.command, {}, "harness", "_HARNESS_COMPLETE").source(), nl=False)
    return EXIT_DONE
