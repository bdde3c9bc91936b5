"""The command tune."""

from pathlib import Path

import click
from click.core import ParameterSource

from harness.cli import candidates
from harness.cli.consoles import OUTPUT
from harness.cli.ending import EXIT_FAILED, EXIT_INTERRUPTED
from harness.cli.manual import Documented, Example, Manual
from harness.errors import BadInput
from harness.nic.rules import USECS
from harness.options import CpuList, FileName, Names, Number
from harness.tune.plan import PARTS, Part
from harness.tune.request import Action, Request

MAX_USECS = 10_000
_MANUAL = Manual(
    examples=(
        Example("What would be changed, and why", "harness tune --nic eth0"),
        Example("Change it, with packets going to the CPU of who reads them", "harness tune --nic eth0 --rfs --apply"),
        Example("For workers on four CPUs, and without a word on interrupts", "harness tune --nic eth0 --cpus 0-3 "
                "--leave interrupts,coalescing --apply"),
        Example("All as it was before", "harness tune --nic eth0 --revert"),
    ),
    statuses={
        EXIT_FAILED: "a driver refused a setting, or not all could be brought back",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal; --apply has brought all back",
    },
    files={
        "/run/percore-tune-DEV.json": "what was before the first --apply; written before anything is changed",
        "/run/percore-tune-host-NUMBER.json": "the same of the host, for all cards of a network namespace",
    },
    see_also=("harness doctor", "docs/tuning.md", "docs/measuring-a-kernel.md"),
)  # fmt: skip
_BESIDE_REVERT = {"nic", "revert", "state"}


@click.command(cls=Documented, manual=_MANUAL)
@click.option(
    "--nic", required=True, metavar="DEV", shell_complete=candidates.devices, help="The network card, as in eth0."
)
@click.option("--cpus", type=CpuList(), help="Those that share its work, as in 0-3 or 0,2.  [default: all]")
@click.option("--rfs", is_flag=True,
              help="Receive flow steering, too: packets go to the CPU of the process that reads them.")  # fmt: skip
@click.option("--coalesce", type=Number(MAX_USECS), default=str(USECS), show_default=True, metavar="MICROSECONDS",
              help="Between two interrupts of a queue, at least.")  # fmt: skip
@click.option("--leave", type=Names(PARTS), metavar="PARTS", help=f"Leave some as they are, of {', '.join(PARTS)}.")
@click.option("--apply", is_flag=True, help="Carry the plan out, and keep what was.")
@click.option("--revert", is_flag=True, help="Bring back what was before the first --apply.")
@click.option("--state", type=FileName(), metavar="FILE",
              help="Where what was is kept.  [default: /run/percore-tune-DEV.json]")  # fmt: skip
@click.pass_context
def tune(
    context: click.Context,
    nic: str,
    cpus: tuple[int, ...] | None,
    coalesce: int,
    leave: tuple[Part, ...] | None,
    state: Path | None,
    *,
    rfs: bool,
    apply: bool,
    revert: bool,
) -> int:
    """Set a network card up for a worker on each CPU, or back.

    A queue and an interrupt for each CPU, a fixed bound on interrupts, packet steering where queues are fewer than
    CPUs, a sending queue of its own for each CPU, and longer queues for connections. Without --apply the plan is
    shown, and nothing is changed. What was is kept until --revert, also when the command is killed half-way.
    """
    from harness.tune import command

    request = Request(
        device=nic,
        action=_action(context, apply=apply, revert=revert),
        cpus=cpus,
        rfs=rfs,
        usecs=coalesce,
        leave=frozenset(leave or ()),
        state=state,
    )
    return 0 if command.tune(request, OUTPUT) else EXIT_FAILED


def _action(context: click.Context, *, apply: bool, revert: bool) -> Action:
    """Tell what is to be done. Raises BadInput."""
    if not revert:
        return "apply" if apply else "show"
    for option in context.command.params:
        name = option.name or ""
        if name not in _BESIDE_REVERT and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BadInput(f"{option.opts[0]}: not beside --revert, which brings back what was; leave it out")
    return "revert"
