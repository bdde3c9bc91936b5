"""The command scale."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from harness import plan
from harness.cli import candidates, comparing
from harness.cli.ending import EXIT_FAILED, EXIT_INTERRUPTED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import (
    MAX_CONCURRENCY,
    MAX_WORKERS,
    dry_run,
    external,
    find_all,
    placement,
    plan_file,
    quiet,
    rfs,
    stored_run,
    variants,
)
from harness.options import Duration, Listing, Names, Ranges
from harness.schema import WORKLOADS, PlanSource, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import Axes

_MANUAL = Manual(
    examples=(
        Example("One server, 1 worker, 2, 4, ... while as many cores are left for the client", "harness scale"),
        Example(
            "Three ways to share a port among workers, in the same rounds",
            "harness scale --impls epoll_raw --listen shared,reuseport,percpu --budget 10m",
        ),
        Example(
            "A proxy, with packets steered to the CPU of who reads them (root)",
            "harness scale --workers 1,2,4,8..24 --workloads proxy --rfs",
        ),
        Example("Options from a file; what would it take?", "harness scale --plan plans/quick.toml --dry-run"),
        Example("Go on after Ctrl-C or a crash", "harness scale --resume results/RUN"),
    ),
    statuses={
        EXIT_FAILED: "an implementation broke the contract or failed under load, or the run broke off; what was "
        "measured is kept and reported",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal; what was measured is kept and "
        "reported, and --resume goes on with it",
    },
    files={"results/TIME-SEED/": "everything measured, as with compare"},
    see_also=("harness compare", "harness report", "docs/scaling.md", "docs/measuring-a-kernel.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@click.option(
    "--impls",
    type=Listing(),
    default=plan.REFERENCE,
    show_default=True,
    metavar="NAMES",
    shell_complete=candidates.implementations,
    help="As with compare.",
)
@external
@variants
@click.option(
    "--reference",
    metavar="NAME",
    shell_complete=candidates.implementation,
    help="As with compare.  [default: epoll_raw, or its first variant]",
)
@click.option("--workloads", type=Names(WORKLOADS), default="short", show_default=True, help="As with compare.")
@click.option("--workers", type=Ranges(MAX_WORKERS), metavar="NUMBERS",
              help="As in 1..4 or 1,2,4..8.  [default: 1, 2, 4, 8, ... while as many cores are left]")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time for each worker.")  # fmt: skip
@placement
@rfs
@click.option("--budget", type=Duration(0.1, 86400), default="60s", show_default=True, help="Load time in all.")
@click.option("--slice", "slice_s", type=Duration(0.01, 60), default="50ms", show_default=True,
              help="A server's turn in a round; made longer where a slow server needs it.")  # fmt: skip
@stored_run
@plan_file
@dry_run
@quiet
@click.pass_context
def scale(
    context: click.Context,
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    reference: str | None,
    workloads: Sequence[Workload],
    workers: Sequence[int] | None,
    concurrency: int,
    testbed: Choice,
    cpus: Cpus,
    rfs: bool,  # noqa: FBT001  click passes options by name
    budget: float,
    slice_s: float,
    blocks: Sequence[int],
    seed: int | None,
    out: Path,
    json_file: Path | None,
    run: Path | None,
    source: PlanSource | None,
    dry: bool,  # noqa: FBT001  click passes options by name
) -> int:
    """Measure what more workers on more CPUs gain.

    Throughput and CPU per request against the number of workers, speed-up, efficiency, and the Universal Scalability
    Law fitted to it. All numbers of workers, and all variants (--listen shared,reuseport,percpu), are measured in the
    same rounds, with the same client.
    """
    from harness import compare as comparison
    from harness import hosts

    if run is not None:
        return comparing.go_on(context, run, json_file)
    numbers = workers or hosts.usual_workers(cpus, workloads)
    request = comparison.Request(
        implementations=find_all(impls, externals, axes=axes),
        reference=reference,
        cells=plan.points(workloads, numbers, concurrency, MAX_CONCURRENCY),
        budget_s=budget,
        slice_s=slice_s,
        seed=secrets.randbits(32) if seed is None else seed,
        out=out,
        json_file=json_file,
        testbed=testbed,
        cpus=cpus,
        rfs=rfs,
        blocks=blocks[0],
        source=source,
        interleaved=True,
    )
    return comparing.carry_out(request, dry=dry)
