"""The command line: one subcommand, one function. What they do lives elsewhere."""

import click

from harness.cli.compare import compare
from harness.cli.conform import conform
from harness.cli.cost import cost
from harness.cli.crosscheck import crosscheck
from harness.cli.ending import EXIT_BAD_INPUT
from harness.cli.profile import profile_command
from harness.cli.scale import scale
from harness.cli.selftest import selftest_command
from harness.cli.soak import soak_command
from harness.cli.stored import diff, explain, report
from harness.cli.torture import torture_command
from harness.errors import BadInput
from harness.report import figures

_LONGEST_ERROR = 4000
"""Characters; one may list what there is to choose from."""


def run() -> int:
    """Run the ``harness`` command and return its exit status; what is wrong with the input is told in one line.

    Raises KeyboardInterrupt.
    """
    try:
        return int(cli.main(prog_name="harness", standalone_mode=False) or 0)
    except (BadInput, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"harness: error: {figures.printable(' '.join(text.split()), _LONGEST_ERROR)}", err=True)
        return EXIT_BAD_INPUT
    except click.Abort:
        raise KeyboardInterrupt from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="percore")
@click.pass_context
def cli(context: click.Context) -> None:
    """Check, load and compare TCP servers that do exactly the same job in different ways.

    Begin with 'harness compare', which needs no option.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    compare,
    scale,
    profile_command,
    cost,
    conform,
    torture_command,
    soak_command,
    selftest_command,
    crosscheck,
    report,
    explain,
    diff,
):
    cli.add_command(_command)
