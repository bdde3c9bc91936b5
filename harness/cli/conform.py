"""The command conform."""

from collections.abc import Sequence

import click

from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.shared_options import find_all, implementations, variants
from harness.variants import Axes


@click.command()
@implementations
@variants
@click.option("--case", "cases", multiple=True, metavar="ID", help="Only this obligation; may repeat.")
def conform(impls: str, externals: Sequence[str], axes: Axes, cases: Sequence[str]) -> int:
    """Check each obligation of CONTRACT.md on running servers; status 1 when one is broken."""
    from harness import conform as conformance
    from harness import hosts, leftovers

    hosts.clear_away(PROGRESS)
    with leftovers.temporary_folder("conform") as directory:
        kept = conformance.conform(find_all(impls, externals, axes=axes), cases, directory, OUTPUT, PROGRESS)
    return 0 if kept else EXIT_FAILED
