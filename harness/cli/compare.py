"""The command compare."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from harness.cli import candidates, comparing
from harness.cli.ending import EXIT_FAILED, EXIT_INTERRUPTED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import (
    MAX_CONCURRENCY,
    MAX_RATE_RPS,
    MAX_WORKERS,
    dry_run,
    find_all,
    implementations,
    placement,
    plan_file,
    quiet,
    rfs,
    stored_run,
    variants,
)
from harness.errors import BadInput
from harness.options import Counts, Duration, Names, Percentage
from harness.schema import WORKLOADS, Client, PlanSource, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import Axes

MAX_IDLE = 60_000
"""Each needs a local port of its own, too."""
SLICE_S = 0.05


_MANUAL = Manual(
    examples=(
        Example("Every server at every job, in four minutes", "harness compare"),
        Example(
            "What you want to know alone, in half a minute of load",
            "harness compare --impls epoll_raw,uvloop --workloads keepalive --budget 30s",
        ),
        Example(
            "Several numbers of connections, each a table of its own",
            "harness compare --workloads keepalive --concurrency 100,1000 --budget 2m",
        ),
        Example(
            "Ways to share a port among workers, and a short connection in fewer packets",
            "harness compare --workers 2 --listen shared,reuseport,percpu --lean",
        ),
        Example(
            "Until every ratio is known to 2 %, for five minutes at most",
            "harness compare --workloads short --precision 2% --budget 5m",
        ),
        Example(
            "Open loop: requests come at scheduled times, whatever the server does",
            "harness compare --workloads short --rate 2000,5000",
        ),
        Example(
            "A program of your own beside the reference",
            "harness compare --impls epoll_raw --external mine='./my-server --fast'",
        ),
        Example(
            "Options from a file, but for one; what would it take?",
            "harness compare --plan plans/full.toml --budget 9m --dry-run",
        ),
        Example("Go on after Ctrl-C or a crash", "harness compare --resume results/RUN"),
    ),
    statuses={
        EXIT_FAILED: "an implementation broke the contract or failed under load, or the run broke off; what was "
        "measured is kept and reported",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal; what was measured is kept and "
        "reported, and --resume goes on with it",
    },
    files={
        "results/TIME-SEED/": "everything measured, and what it was measured on; results/README.md says what each "
        "file holds",
        "plans/quick.toml": "a plan for a first look: two servers, two jobs",
        "plans/full.toml": "a plan of every server at every job, with few connections, many, and very many",
        "plans/ci.toml": "a plan for a machine that measures each change",
        "plans/paper.toml": "a plan for figures to be published, each ratio to 1 %",
        "CONTRACT.md": "what is asked of each server before it gets figures",
    },
    see_also=("harness report", "harness explain", "harness diff", "docs/first-comparison.md"),
)


@click.command(cls=Documented, manual=_MANUAL)
@implementations
@variants
@click.option(
    "--reference",
    metavar="NAME",
    shell_complete=candidates.implementation,
    help="What ratios are taken to.  [default: epoll_raw, or its first variant]",
)
@click.option(
    "--workloads", type=Names(WORKLOADS), default=",".join(WORKLOADS), show_default=True,
    help="short: a connection per request; keepalive; proxy: short through a relay to a backend.",
)  # fmt: skip
@click.option("--workers", type=Counts(MAX_WORKERS), default="1", show_default=True,
              help="Worker processes of each server.")  # fmt: skip
@click.option(
    "--concurrency", type=Counts(MAX_CONCURRENCY), default="100", show_default=True, help="Connections at a time."
)
@click.option("--rate", "rates", type=Counts(MAX_RATE_RPS), metavar="NUMBERS",
              help="Open loop: offer so many requests/s; latency is from when each was due.")  # fmt: skip
@click.option("--idle", type=Counts(MAX_IDLE, smallest=0), default="0", show_default=True, metavar="NUMBERS",
              help="Connections to each server that stay open beside those and carry nothing.")  # fmt: skip
@placement
@rfs
@click.option("--client", type=click.Choice(get_args(Client)), default="builtin", show_default=True,
              help="What makes the load; ab and wrk take turns of a second at least.")  # fmt: skip
@click.option("--budget", type=Duration(0.1, 86400), help="Load time in all.  [default: 60s; ab, wrk: 3m]")
@click.option("--precision", type=Percentage(0.1, 50), metavar="PERCENT",
              help="End a cell when every ratio is known to this, as in 2%; the budget is then the most.")  # fmt: skip
@click.option("--slice", "slice_s", type=Duration(0.01, 60),
              help="A server's turn in a round; made longer where a slow server needs it.  "
              "[default: 50ms; ab, wrk: 1s]")  # fmt: skip
@stored_run
@plan_file
@dry_run
@quiet
@click.pass_context
def compare(
    context: click.Context,
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    reference: str | None,
    workloads: Sequence[Workload],
    workers: Sequence[int],
    concurrency: Sequence[int],
    rates: Sequence[int] | None,
    idle: Sequence[int],
    testbed: Choice,
    cpus: Cpus,
    rfs: bool,  # noqa: FBT001  click passes options by name
    client: Client,
    budget: float | None,
    precision: float | None,
    blocks: Sequence[int],
    slice_s: float | None,
    seed: int | None,
    out: Path,
    json_file: Path | None,
    run: Path | None,
    source: PlanSource | None,
    dry: bool,  # noqa: FBT001  click passes options by name
) -> int:
    """Say which server is faster, by how much, and how sure that is.

    First each is checked for the contract; who breaks it gets no figures. The load then moves between the servers every
    50 ms, in random order, and ratios are taken within each round: what makes the machine faster or slower for a while
    meets all alike. Printed are a table for each cell (workload, workers, connections), what was the limit, and the
    result in a sentence.
    """
    from harness import compare as comparison
    from harness import plan
    from harness.loadgen.witnesses import MIN_TURN_S

    if run is not None:
        return comparing.go_on(context, run, json_file)
    default_slice_s, default_budget_s = (SLICE_S, 60.0) if client == "builtin" else (MIN_TURN_S, 180.0)
    if slice_s is not None and client != "builtin" and slice_s % MIN_TURN_S:
        raise BadInput(f"--slice {slice_s:g}s: {client} takes turns of whole seconds; give 1s, 2s or more")
    request = comparison.Request(
        implementations=find_all(impls, externals, axes=axes),
        reference=reference,
        cells=plan.expand(workloads, workers, concurrency, rates or (None,), idle),
        budget_s=budget or default_budget_s,
        slice_s=slice_s or default_slice_s,
        seed=secrets.randbits(32) if seed is None else seed,
        out=out,
        json_file=json_file,
        testbed=testbed,
        cpus=cpus,
        rfs=rfs,
        client=client,
        blocks=blocks[0],
        source=source,
        precision=precision,
    )
    return comparing.carry_out(request, dry=dry)
