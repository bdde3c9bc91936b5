"""The command conform."""

from collections.abc import Sequence

import click

from harness.cli import candidates
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import find_all, implementations, quiet, variants
from harness.variants import Axes

_MANUAL = Manual(
    examples=(
        Example("Every obligation, on every implementation", "harness conform"),
        Example("One implementation", "harness conform --impls trio"),
        Example("A program of your own", "harness conform --impls none --external mine='./my-server --fast'"),
        Example("One obligation, while you mend it", "harness conform --impls trio --case REPLY-BYTES"),
    ),
    statuses={EXIT_FAILED: "an obligation is broken"},
    files={"CONTRACT.md": "the obligations, each with its id"},
    see_also=("harness compare", "harness torture", "docs/your-own-program.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@implementations
@variants
@click.option("--case", "cases", multiple=True, metavar="ID", shell_complete=candidates.obligations,
              help="Only this obligation; may repeat.")  # fmt: skip
@quiet
def conform(impls: str, externals: Sequence[str], axes: Axes, cases: Sequence[str]) -> int:
    """Check each obligation of CONTRACT.md on running servers.

    Each has an id and gets a verdict: kept, broken (with what was expected and what came), or not checked and why.
    """
    from harness import conform as conformance
    from harness import hosts, leftovers

    hosts.clear_away(PROGRESS)
    with leftovers.temporary_folder("conform") as directory:
        kept = conformance.conform(find_all(impls, externals, axes=axes), cases, directory, OUTPUT, PROGRESS)
    return 0 if kept else EXIT_FAILED
