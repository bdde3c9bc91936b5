"""The command cost."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.shared_options import find_all, implementations, placement, variants
from harness.options import FileName, Names
from harness.schema import WORKLOADS, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import Axes


@click.command()
@implementations
@variants
@click.option("--workloads", type=Names(WORKLOADS), default=",".join(WORKLOADS), show_default=True,
              help="As with compare.")  # fmt: skip
@placement
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the figures to this file.")
def cost(
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    workloads: Sequence[Workload],
    testbed: Choice,
    cpus: Cpus,
    json_file: Path | None,
) -> int:
    """Count what one request takes: system calls by name, TCP segments, wake-ups. Nothing is timed.

    The figures of our own servers are the same on every run, whatever else the machine does; what varies is marked ~.
    Takes half a minute. Exit status: 0; 1 when there are no figures for one; 2 for bad input, as when strace is not
    installed.
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
