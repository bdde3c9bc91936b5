"""The command selftest."""

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import placement, quiet
from harness.options import Counts, Names, Number
from harness.testbed import Choice
from harness.testbed.placement import Cpus

if TYPE_CHECKING:
    from harness.selftest import Part

PARTS: "tuple[Part, ...]" = ("same", "difference", "limits")


_MANUAL = Manual(
    examples=(
        Example("All of it", "harness selftest"),
        Example("Only whether limits are named, in two minutes", "harness selftest --parts limits"),
        Example("The same server twice, often", "harness selftest --parts same --runs 200"),
    ),
    statuses={EXIT_FAILED: "the harness missed something that was planted, or claimed what is not so"},
    see_also=("harness doctor", "harness crosscheck", "docs/trust.md"),
)


@click.command("selftest", cls=Documented, manual=_MANUAL)
@click.option("--parts", type=Names(PARTS), default=",".join(PARTS), show_default=True,
              help="same: one server twice; difference: planted ones; limits: planted ones.")  # fmt: skip
@click.option("--runs", type=Counts(1000, several=False), default="40", show_default=True,
              help="How many runs of the same server twice.")  # fmt: skip
@placement
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier self test.  [default: random]")
@quiet
def selftest_command(
    parts: Sequence["Part"],
    runs: Sequence[int],
    testbed: Choice,
    cpus: Cpus,
    seed: int | None,
) -> int:
    """Try the harness on what is known.

    The same server twice must tie as often as a 95 % interval claims, servers that are slower by a known share must be
    found, and planted limits must be named. Takes some five minutes.
    """
    from harness import selftest

    request = selftest.Request(
        parts=parts, runs=runs[0], testbed=testbed, cpus=cpus, seed=secrets.randbits(32) if seed is None else seed
    )
    return 0 if selftest.selftest(request, OUTPUT, PROGRESS) else EXIT_FAILED
