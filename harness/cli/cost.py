"""The command cost."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_BAD_INPUT, EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import find_all, implementations, placement, quiet, variants
from harness.options import FileName, Names
from harness.schema import WORKLOADS, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import Axes

_MANUAL = Manual(
    examples=(
        Example("What a request takes of each server", "harness cost"),
        Example(
            "What --lean saves on short connections",
            "harness cost --impls epoll_raw,epoll_raw+lean --workloads short --json cost.json",
        ),
        Example("Beside other people's servers", "harness cost --impls epoll_raw,nginx,haproxy"),
    ),
    statuses={
        EXIT_FAILED: "there are no figures for one of the servers",
        EXIT_BAD_INPUT: "bad input, or strace is not installed",
    },
    see_also=("harness profile", "harness compare", "docs/costs.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@implementations
@variants
@click.option("--workloads", type=Names(WORKLOADS), default=",".join(WORKLOADS), show_default=True,
              help="As with compare.")  # fmt: skip
@placement
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the figures to this file.")
@quiet
def cost(
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    workloads: Sequence[Workload],
    testbed: Choice,
    cpus: Cpus,
    json_file: Path | None,
) -> int:
    """Count what one request takes: system calls, segments, wake-ups.

    Nothing is timed: the figures of our own servers are the same on every run, whatever else the machine does; what
    varies is marked ~. Takes half a minute.
    """
    from harness.cost import command as costs

    request = costs.Request(
        implementations=find_all(impls, externals, axes=axes),
        workloads=workloads,
        testbed=testbed,
        cpus=cpus,
        json_file=json_file,
    )
    return 0 if costs.cost(request, OUTPUT, PROGRESS) else EXIT_FAILED
