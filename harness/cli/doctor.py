"""The command doctor."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli import candidates
from harness.cli.compare import MAX_IDLE
from harness.cli.consoles import OUTPUT
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import MAX_CONCURRENCY, MAX_WORKERS, placement
from harness.options import Counts, FileName
from harness.testbed import Choice
from harness.testbed.placement import Cpus

_STANDARD_OUTPUT = "-"


_MANUAL = Manual(
    examples=(
        Example("For harness compare as it is without options", "harness doctor"),
        Example("For eight workers under a larger load", "harness doctor --workers 8 --concurrency 1000 --idle 9000"),
        Example("For servers that are reached by a network card", "harness doctor --nic eth0"),
        Example("For a program to read", "harness doctor --json"),
    ),
    statuses={
        EXIT_FAILED: "there is a problem: figures will be wrong, or a run will fail; with warnings alone it is 0",
    },
    see_also=("harness tune", "harness selftest", "docs/doctor.md"),
)


@click.command("doctor", cls=Documented, manual=_MANUAL)
@click.option("--workers", type=Counts(MAX_WORKERS, several=False), default="1", show_default=True,
              help="Worker processes of each server that are to have CPUs.")  # fmt: skip
@click.option("--concurrency", type=Counts(MAX_CONCURRENCY, several=False), default="100", show_default=True,
              help="Connections at a time that limits are to allow.")  # fmt: skip
@click.option("--idle", type=Counts(MAX_IDLE, smallest=0, several=False), default="0", show_default=True,
              help="Idle connections beside those.")  # fmt: skip
@placement
@click.option("--nic", "devices", multiple=True, metavar="DEV", shell_complete=candidates.devices,
              help="A network device that servers are to be reached by; may repeat.  [default: none; those that are up "
              "are looked at]")  # fmt: skip
@click.option("--json", "json_file", type=FileName(), is_flag=False, flag_value=_STANDARD_OUTPUT, metavar="[FILE]",
              help="Write the findings to this file, too; without FILE print them as JSON, not as text.")  # fmt: skip
def doctor_command(
    workers: Sequence[int],
    concurrency: Sequence[int],
    idle: Sequence[int],
    testbed: Choice,
    cpus: Cpus,
    devices: Sequence[str],
    json_file: Path | None,
) -> int:
    """Tell whether this machine is set up for measuring.

    Looks for settings that spoil measurements, and tells why each matters and the command that mends it.

    Takes some seconds, of which it watches for one what else runs. It changes nothing; to see whether network
    namespaces can be made it makes some, which are gone at once.
    """
    from harness.doctor import command

    as_json = json_file == Path(_STANDARD_OUTPUT)
    request = command.Request(
        workers=workers[0],
        concurrency=concurrency[0],
        idle=idle[0],
        testbed=testbed,
        cpus=cpus,
        devices=devices,
        json_file=None if as_json else json_file,
        as_json=as_json,
    )
    return 0 if command.doctor(request, OUTPUT) else EXIT_FAILED
