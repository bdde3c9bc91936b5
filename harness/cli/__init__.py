"""The command line: one subcommand, one function. What they do lives elsewhere."""

import click

from harness.cli import shells, start
from harness.cli.ending import EXIT_BAD_INPUT
from harness.cli.lazy_group import LazyGroup, Listed, Section
from harness.errors import BadInput

_LONGEST_ERROR = 4000
"""Characters; one may list what there is to choose from."""
HELP_WIDTH = 100
"""Characters a line at most, on a terminal that has more."""
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}

SECTIONS = (
    Section(
        "Measure",
        (
            Listed("compare", "Say which server is faster, by how much, and how sure that is."),
            Listed("scale", "Measure what more workers on more CPUs gain."),
            Listed("watch", "Show a run that is under way elsewhere."),
            Listed("profile", "Record with perf where the core goes.", "profile:profile_command"),
            Listed("cost", "Count what one request takes: system calls, segments, wake-ups."),
        ),
    ),
    Section(
        "Check a server",
        (
            Listed("conform", "Check each obligation of CONTRACT.md on running servers."),
            Listed("torture", "Inject faults under load, and account for every request.", "torture:torture_command"),
            Listed("soak", "Tell whether a server grows over very many connections.", "soak:soak_command"),
        ),
    ),
    Section(
        "Judge stored runs, on any machine",
        (
            Listed("report", "Print stored runs again, or make a page of them."),
            Listed("explain", "Print the evidence behind the verdicts of one cell.", "stored:explain"),
            Listed("diff", "Say what changed from one run to another.", "stored:diff"),
            Listed("export", "Write a stored run as CSV, Parquet or OpenMetrics."),
        ),
    ),
    Section(
        "Set the machine up",
        (
            Listed("doctor", "Tell whether this machine is set up for measuring.", "doctor:doctor_command"),
            Listed("tune", "Set a network card up for a worker on each CPU, or back."),
        ),
    ),
    Section(
        "Can the figures be trusted",
        (
            Listed("selftest", "Try the harness on what is known.", "selftest:selftest_command"),
            Listed("crosscheck", "Compare the built-in load generator with ab and wrk."),
        ),
    ),
    Section(
        "This program",
        (
            Listed("completion", "Print what makes a shell complete commands and values."),
            Listed("man", "Print the manual page of a command, or of all."),
        ),
    ),
)


def run() -> int:
    """Run the ``harness`` command and return its exit status; what is wrong with the input is told in one line.

    Raises KeyboardInterrupt.
    """
    shells.register()
    try:
        return int(cli.main(prog_name="harness", standalone_mode=False) or 0)
    except (BadInput, click.ClickException) as error:
        from harness.report import figures

        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"harness: error: {figures.printable(' '.join(text.split()), _LONGEST_ERROR)}", err=True)
        return EXIT_BAD_INPUT
    except click.Abort:
        raise KeyboardInterrupt from None


@click.group(cls=LazyGroup, sections=SECTIONS, context_settings=_CONTEXT, invoke_without_command=True)
@click.version_option(package_name="percore")
@click.pass_context
def cli(context: click.Context) -> None:
    """Check, load and compare TCP servers that do exactly the same job in different ways.

    'harness' alone says where to start, 'harness COMMAND --help' has options and examples.
    """
    if context.invoked_subcommand is None:
        click.echo("\n".join(start.lines()))
