"""The command line: one subcommand, one function. What they do lives elsewhere."""

import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import click
from rich.console import Console

from harness import compare as comparison
from harness import conform as conformance
from harness import plan
from harness.__main__ import EXIT_INTERRUPTED
from harness.errors import BadInput
from harness.options import Counts, Duration, FileName, Names, Number
from harness.registry import find
from harness.schema import Workload

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2
OUTPUT, PROGRESS = Console(), Console(stderr=True)
WORKLOADS: tuple[Workload, ...] = get_args(Workload)
MAX_CONCURRENCY = 20_000
"""The generator needs a local port for each connection, and there are about 28 thousand (ip_local_port_range)."""


def run() -> int:
    """Run the ``harness`` command and return its exit status; what is wrong with the input is told in one line.

    Raises KeyboardInterrupt.
    """
    try:
        return int(cli.main(prog_name="harness", standalone_mode=False) or 0)
    except (BadInput, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"harness: error: {' '.join(text.split())}", err=True)
        return EXIT_BAD_INPUT
    except click.Abort:
        raise KeyboardInterrupt from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="percore")
@click.pass_context
def cli(context: click.Context) -> None:
    """Check, load and compare TCP servers that do exactly the same job in different ways.

    Begin with 'harness compare', which needs no option.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _implementations(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name implementations."""
    external = click.option(
        "--external", "externals", multiple=True, metavar="NAME='COMMAND'",
        help="Also any program that takes the flags of CONTRACT.md; may repeat.",
    )  # fmt: skip
    impls = click.option(
        "--impls", default="all", show_default=True, metavar="NAMES",
        help="Folders of impls/, with commas between them; 'all', or 'none' for externals alone.",
    )  # fmt: skip
    return impls(external(function))


@cli.command()
@_implementations
@click.option("--case", "cases", multiple=True, metavar="ID", help="Only this obligation; may repeat.")
def conform(impls: str, externals: Sequence[str], cases: Sequence[str]) -> int:
    """Check each obligation of CONTRACT.md on running servers; status 1 when one is broken."""
    with tempfile.TemporaryDirectory(prefix="percore-conform-") as directory:
        kept = conformance.conform(find(impls, externals), cases, Path(directory), OUTPUT, PROGRESS)
    return 0 if kept else EXIT_FAILED


@cli.command()
@_implementations
@click.option("--reference", metavar="NAME", help="What ratios are taken to.  [default: epoll_raw]")
@click.option(
    "--workloads", type=Names(WORKLOADS), default=",".join(WORKLOADS), show_default=True,
    help="short: a connection per request; keepalive; proxy: short through a relay to a backend.",
)  # fmt: skip
@click.option("--workers", type=Counts(4096), default="1", show_default=True, help="Worker processes of each server.")
@click.option(
    "--concurrency", type=Counts(MAX_CONCURRENCY), default="100", show_default=True, help="Connections at a time."
)
@click.option("--budget", type=Duration(0.1, 86400), default="60s", show_default=True, help="Load time in all.")
@click.option("--slice", "slice_s", type=Duration(0.01, 60), default="50ms", show_default=True,
              help="A server's turn in a round; made longer where a slow server needs it.")  # fmt: skip
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier run.  [default: random]")
@click.option("--out", type=FileName(), default=Path("results"), show_default=True, metavar="DIRECTORY",
              help="Where the run's folder is made.")  # fmt: skip
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the summary to this file.")
def compare(
    impls: str,
    externals: Sequence[str],
    reference: str | None,
    workloads: Sequence[Workload],
    workers: Sequence[int],
    concurrency: Sequence[int],
    budget: float,
    slice_s: float,
    seed: int | None,
    out: Path,
    json_file: Path | None,
) -> int:
    """Check conformance, load the servers in interleaved slices, and say which is faster and how sure that is.

    Exit status: 0; 1 when an implementation broke the contract or failed under load, or the run broke off; 2 for bad
    input; 130 after Ctrl-C or SIGTERM, with a report of what was measured.
    """
    result = comparison.compare(
        comparison.Request(
            implementations=find(impls, externals),
            reference=reference,
            cells=plan.expand(workloads, workers, concurrency),
            budget_s=budget,
            slice_s=slice_s,
            seed=secrets.randbits(32) if seed is None else seed,
            out=out,
            json_file=json_file,
        ),
        OUTPUT,
        PROGRESS,
    )
    if result.outcome == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if result.outcome == "complete" and result.all_judged else EXIT_FAILED


@cli.command()
@click.argument("run", type=FileName())
def report(run: Path) -> int:
    """Print a stored run again, on any machine, without running anything."""
    comparison.show(run, OUTPUT)
    return 0
