"""The command crosscheck."""

import secrets
from collections.abc import Sequence
from typing import get_args

import click

from harness import plan
from harness.cli import candidates
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_BAD_INPUT, EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import MAX_CONCURRENCY, external, find_all, placement, quiet
from harness.options import Names, Number
from harness.schema import WORKLOADS, Client, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus

FEWEST_TURNS, MAX_TURNS = 2, 1000
"""The first is ``stats.FEWEST_ROUNDS``, which takes numpy to import."""
OTHER_CLIENTS = tuple(client for client in get_args(Client) if client != "builtin")


_MANUAL = Manual(
    examples=(
        Example("All load generators that are installed", "harness crosscheck"),
        Example(
            "One of them, for longer",
            "harness crosscheck --clients wrk --workloads keepalive --turns 50",
        ),
    ),
    statuses={
        EXIT_FAILED: "there are no figures for one of the load generators",
        EXIT_BAD_INPUT: "bad input, or neither ab nor wrk is installed",
    },
    see_also=("harness selftest", "harness compare", "docs/trust.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@click.option("--impls", default=plan.REFERENCE, show_default=True, metavar="NAMES",
              shell_complete=candidates.implementations,
              help="Servers to load: folders of impls/, with commas between them.")  # fmt: skip
@external
@click.option("--clients", type=Names(OTHER_CLIENTS), help="Other load generators.  [default: those installed]")
@click.option("--workloads", type=Names(WORKLOADS), default="short,keepalive", show_default=True,
              help="As with compare.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time.")  # fmt: skip
@click.option("--turns", type=click.IntRange(FEWEST_TURNS, MAX_TURNS), default=10, show_default=True,
              help="Turns of each client, of a second.")  # fmt: skip
@placement
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier one.  [default: random]")
@quiet
def crosscheck(
    impls: str,
    externals: Sequence[str],
    clients: Sequence[Client] | None,
    workloads: Sequence[Workload],
    concurrency: int,
    turns: int,
    testbed: Choice,
    cpus: Cpus,
    seed: int | None,
) -> int:
    """Compare the built-in load generator with ab and wrk.

    They load the same servers in turns of a second, and the ratio of their rates is told with its interval.
    """
    from harness import crosscheck as cross

    request = cross.Request(
        implementations=find_all(impls, externals),
        workloads=workloads,
        witnesses=clients,
        concurrency=concurrency,
        turns=turns,
        testbed=testbed,
        cpus=cpus,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    return 0 if cross.crosscheck(request, OUTPUT, PROGRESS) else EXIT_FAILED
