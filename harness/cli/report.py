"""The command report."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli import candidates
from harness.cli.consoles import OUTPUT
from harness.cli.manual import Documented, Example, Manual
from harness.errors import BadInput
from harness.options import FileName

_MANUAL = Manual(
    examples=(
        Example("The tables of a run", "harness report results/RUN"),
        Example("A page with plots, in the run's folder", "harness report results/RUN --html"),
        Example("Two runs in one page", "harness report results/OLD results/NEW --html --out both.html"),
        Example("The plots by themselves, as for a paper", "harness report results/RUN --svg plots"),
    ),
    files={"RUN/report.html": "the page", "results/README.md": "what each file of a run holds"},
    see_also=("harness explain", "harness diff", "docs/reading-a-report.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@click.argument("runs", type=FileName(), nargs=-1, required=True, metavar="RUN...", shell_complete=candidates.runs)
@click.option("--html", is_flag=True, help="Make a page with plots instead, which needs no network and no other file.")
@click.option("--out", type=FileName(), metavar="FILE",
              help="Where the page goes.  [default: report.html in RUN; of several there is none]")  # fmt: skip
@click.option("--svg", type=FileName(), metavar="DIRECTORY",
              help="Write each plot as an SVG file; of several runs each into a folder in it.")  # fmt: skip
def report(
    runs: Sequence[Path],
    html: bool,  # noqa: FBT001  click passes options by name
    out: Path | None,
    svg: Path | None,
) -> int:
    """Print stored runs again, or make a page of them.

    They are judged anew from what was measured; nothing runs, so any machine will do. RUN is a run's folder, of harness
    profile, too. The page is one file that needs no network.
    """
    if out is not None and not html:
        raise BadInput(f"--out {out}: is where the page goes; add --html")
    if html and out is None and len(runs) > 1:
        raise BadInput(f"--html of {len(runs)} runs: say with --out FILE where the page goes")
    if not html and svg is None:
        _print(runs)
        return 0
    from harness import pages

    pages.make(runs, OUTPUT, page=(out or runs[0] / pages.PAGE) if html else None, plots=svg)
    return 0


def _print(runs: Sequence[Path]) -> None:
    from harness import compare as comparison
    from harness.profile import command as profiles

    for run in runs:
        if not profiles.show_stored(run, OUTPUT):
            comparison.show(run, OUTPUT)
