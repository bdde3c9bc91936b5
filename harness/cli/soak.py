"""The command soak."""

from collections.abc import Sequence

import click

from harness.__main__ import EXIT_INTERRUPTED
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import MAX_CONCURRENCY, MAX_WORKERS, find_all, implementations, placement, quiet
from harness.options import Counts, Duration
from harness.schema import WORKLOADS, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus

MAX_SOAK = 10**9


_MANUAL = Manual(
    examples=(
        Example("A million connections to each", "harness soak"),
        Example("A program of your own", "harness soak --impls none --external mine='./my-server --fast'"),
        Example("As a proxy", "harness soak --impls trio --workload proxy --connections 200000"),
    ),
    statuses={
        EXIT_FAILED: "a worker has more memory or descriptors after the first tenth of the connections, beyond noise; "
        "or one failed, gave no reply in three slices in a row, or was not done within --budget",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal, with what was measured",
    },
    see_also=("harness torture", "harness conform", "docs/robustness.md"),
)


@click.command("soak", cls=Documented, manual=_MANUAL)
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
@quiet
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
    """Tell whether a server grows over very many connections.

    Memory and descriptors of each worker are printed for each tenth of the connections, and whether they grow or it is
    noise.
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
