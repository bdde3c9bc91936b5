"""The command profile."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from harness.__main__ import EXIT_INTERRUPTED
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_BAD_INPUT, EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import (
    MAX_CONCURRENCY,
    MAX_RATE_RPS,
    MAX_WORKERS,
    find_all,
    implementations,
    placement,
    quiet,
    variants,
)
from harness.options import Counts, Duration, FileName, Number
from harness.schema import WORKLOADS, Workload
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import Axes

_MANUAL = Manual(
    examples=(
        Example("What the CPU does for a short connection, in each server", "harness profile"),
        Example(
            "Two servers on kept connections, both at 5,000 requests/s",
            "harness profile --impls epoll_raw,trio --workload keepalive --rate 5000 --budget 2m",
        ),
        Example("Ways to share a port", "harness profile --impls epoll_raw --workers 2 --listen shared,percpu"),
        Example("Print its tables again", "harness report results/RUN"),
    ),
    statuses={
        EXIT_FAILED: "a server failed under load, or perf did",
        EXIT_BAD_INPUT: "bad input, or perf is not installed, or may not record here",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal, with the tables of what was recorded",
    },
    files={
        "results/TIME-SEED/flamegraph-NAME.html": "a flame graph with search and zoom",
        "results/TIME-SEED/NAME.perf.txt": "the samples, for speedscope and the Firefox profiler",
        "results/TIME-SEED/NAME.folded": "folded stacks",
    },
    see_also=("harness cost", "harness report", "docs/costs.md"),
)


@click.command("profile", cls=Documented, manual=_MANUAL)
@implementations
@variants
@click.option("--workload", type=click.Choice(WORKLOADS), default="short", show_default=True,
              help="As with compare.")  # fmt: skip
@click.option("--workers", type=Counts(MAX_WORKERS, several=False), default="1", show_default=True,
              help="Worker processes of each server.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time, at most.")  # fmt: skip
@click.option("--rate", "rates", type=Counts(MAX_RATE_RPS, several=False), metavar="NUMBER",
              help="Requests/s offered to each server.  [default: half of what the slowest can do]")  # fmt: skip
@placement
@click.option("--budget", type=Duration(1, 3600), default="60s", show_default=True,
              help="Load time in all; four times as much makes intervals half as wide.")  # fmt: skip
@click.option("--slice", "slice_s", type=Duration(0.05, 60), default="250ms", show_default=True,
              help="A server's turn in a round.")  # fmt: skip
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier one.  [default: random]")
@click.option("--out", type=FileName(), default=Path("results"), show_default=True, metavar="DIRECTORY",
              help="Where the run's folder is made.")  # fmt: skip
@click.option(
    "--keep-perf-data",
    is_flag=True,
    help="Leave perf.data in the folder, for perf report and others, where all of it was read, too.",
)
@quiet
def profile_command(
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    workload: Workload,
    workers: Sequence[int],
    concurrency: int,
    rates: Sequence[int] | None,
    testbed: Choice,
    cpus: Cpus,
    budget: float,
    slice_s: float,
    seed: int | None,
    out: Path,
    keep_perf_data: bool,  # noqa: FBT001  click passes options by name
) -> int:
    """Record with perf where the core goes.

    Each server serves the same rate, in turns. Printed is CPU time per request by what was done, and by system call;
    flame graphs and samples are left in the run's folder. Takes root or CAP_PERFMON.
    """
    from harness.profile import command as profiles

    request = profiles.Request(
        implementations=find_all(impls, externals, axes=axes),
        workload=workload,
        workers=workers[0],
        concurrency=concurrency,
        rate_rps=rates[0] if rates else None,
        budget_s=budget,
        slice_s=slice_s,
        seed=secrets.randbits(32) if seed is None else seed,
        testbed=testbed,
        cpus=cpus,
        out=out,
        keep_perf_data=keep_perf_data,
    )
    outcome = profiles.profile(request, OUTPUT, PROGRESS)
    return {"complete": 0, "failed": EXIT_FAILED, "interrupted": EXIT_INTERRUPTED}[outcome]
