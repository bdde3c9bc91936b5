"""The command soak."""

from collections.abc import Sequence

import click

from harness.__main__ import EXIT_INTERRUPTED
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.shared_options import MAX_CONCURRENCY, MAX_WORKERS, find_all, implementations, placement
from harness.options import Counts, Duration
from harness.schema import WORKLOADS, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus

MAX_SOAK = 10**9


@click.command("soak")
@implementations
@click.option("--connections", type=Counts(MAX_SOAK, several=False), default="1000000", show_default=True,
              help="How many for each implementation.")  # fmt: skip
@click.option("--workload", type=click.Choice(WORKLOADS), default="short", show_default=True,
              help="As with compare; on kept connections so many requests.")  # fmt: skip
@click.option("--workers", type=Counts(MAX_WORKERS, several=False), default="1", show_default=True,
              help="Worker processes of each server.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time.")  # fmt: skip
@click.option("--budget", type=Duration(1, 86400), default="15m", show_default=True,
              help="The most time for each implementation; what is not done by then is broken off.")  # fmt: skip
@placement
def soak_command(
    impls: str,
    externals: Sequence[str],
    connections: Sequence[int],
    workload: Workload,
    workers: Sequence[int],
    concurrency: int,
    budget: float,
    testbed: Choice,
    cpus: Cpus,
) -> int:
    """Make very many short connections to each implementation, and tell whether its memory or descriptors grow.

    Exit status: 0; 1 when a worker has more of either after the first tenth of the connections, beyond noise, or one
    failed, gave no reply in three slices in a row, or was broken off; 2 for bad input; 130 after Ctrl-C or SIGTERM,
    with what was measured.
    """
    from harness import soak as soaks

    request = soaks.Request(
        implementations=find_all(impls, externals),
        workload=workload,
        connections=connections[0],
        workers=workers[0],
        concurrency=concurrency,
        budget_s=budget,
        testbed=testbed,
        cpus=cpus,
    )
    outcome = soaks.soak(request, OUTPUT, PROGRESS)
    return {"stood": 0, "failed": EXIT_FAILED, "interrupted": EXIT_INTERRUPTED}[outcome]
