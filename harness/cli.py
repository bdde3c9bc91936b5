"""The command line: one subcommand, one function. What they do lives elsewhere."""

import functools
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource
from rich.console import Console

from harness import compare as comparison
from harness import conform as conformance
from harness import crosscheck as cross
from harness import hosts, leftovers, plan, selftest, stored, versions
from harness import soak as soaks
from harness.__main__ import EXIT_INTERRUPTED
from harness.analysis.stats import FEWEST_ROUNDS
from harness.cost import command as costs
from harness.errors import BadInput
from harness.loadgen.witnesses import MIN_TURN_S, WITNESSES
from harness.options import Counts, CpuList, Duration, FileName, Names, Number, Percentage, Preload, Ranges
from harness.peers import PEERS
from harness.profile import command as profiles
from harness.registry import Implementation, find
from harness.report import figures
from harness.report import torture as torture_report
from harness.report.figures import show
from harness.schema import WORKLOADS, Client, Library, Workload
from harness.servers import ServerFailed
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.torture import command as tortures
from harness.variants import LISTEN_MODES, Axes, ListenMode

MAX_TURNS = 1000
EXIT_FAILED, EXIT_BAD_INPUT = 1, 2
OUTPUT, PROGRESS = Console(), Console(stderr=True)
MAX_CONCURRENCY = 20_000
"""The generator needs a local port for each connection; on loopback there are about 28 thousand by default."""
MAX_WORKERS = 4096
MAX_IDLE = 60_000
"""Each needs a local port of its own, too."""
PARTS: tuple[selftest.Part, ...] = get_args(selftest.Part)
TESTBEDS: tuple[Choice, ...] = get_args(Choice)
MAX_RATE_RPS = 10_000_000
MAX_SOAK = 10**9
SLICE_S = 0.05
_LONGEST_ERROR = 4000
"""Characters; one may list what there is to choose from."""


def run() -> int:
    """Run the ``harness`` command and return its exit status; what is wrong with the input is told in one line.

    Raises KeyboardInterrupt.
    """
    try:
        return int(cli.main(prog_name="harness", standalone_mode=False) or 0)
    except (BadInput, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"harness: error: {figures.printable(' '.join(text.split()), _LONGEST_ERROR)}", err=True)
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


_external = click.option(
    "--external", "externals", multiple=True, metavar="NAME='COMMAND'",
    help="Also any program that takes the flags of CONTRACT.md; may repeat.",
)  # fmt: skip


def _implementations(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name implementations."""
    impls = click.option(
        "--impls", default="all", show_default=True, metavar="NAMES",
        help="Folders of impls/, with commas between them, NAME+percpu+lean for one with --listen percpu --lean; "
        f"'all', or 'none'; also {' and '.join(PEERS)}, where installed.",
    )  # fmt: skip
    return impls(_external(function))


def _variants(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that run each implementation in several variants; they become one argument."""

    @functools.wraps(function)
    def with_axes(
        *args: Any, listen: Sequence[ListenMode] | None, lean: bool, preloads: Sequence[Library], **others: Any
    ) -> int:
        return function(*args, axes=Axes(listen or (), preloads, lean), **others)

    options = [
        click.option("--listen", type=Names(LISTEN_MODES), metavar="MODES",
                     help=f"Run each in these listen modes, of {', '.join(LISTEN_MODES)}, as NAME+percpu; "
                     f"{' and '.join(PEERS)} have none, and run once.  [default: as named]"),
        click.option("--lean", is_flag=True, help="Run each with --lean, too, as NAME+lean beside the one without."),
        click.option("--preload", "preloads", type=Preload(), multiple=True, metavar="[LIBRARY=]PATH",
                     help="Run each with this shared library in LD_PRELOAD, too, as NAME+LIBRARY; may repeat."),
    ]  # fmt: skip
    decorated: Callable[..., int] = with_axes
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def _placement(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that choose hosts and CPUs; the CPUs become one argument."""

    @functools.wraps(function)
    def with_cpus(
        *args: Any,
        server_cpus: Sequence[int] | None,
        client_cpus: Sequence[int] | None,
        backend_cpus: Sequence[int] | None,
        **others: Any,
    ) -> int:
        return function(*args, cpus=Cpus(server_cpus, client_cpus, backend_cpus), **others)

    options = [
        click.option("--testbed", type=click.Choice(TESTBEDS), default="auto", show_default=True,
                     help="netns: hosts of their own in network namespaces; auto: that where it can be made."),
        click.option("--server-cpus", type=CpuList(), help="As in 0-3 or 0,2.  [default: the first, one a core]"),
        click.option("--client-cpus", type=CpuList(), help="Where the load is made.  [default: of the rest]"),
        click.option("--backend-cpus", type=CpuList(), help="Where the proxies' backend runs.  [default: of the rest]"),
    ]  # fmt: skip
    decorated: Callable[..., int] = with_cpus
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


_rfs = click.option(
    "--rfs", is_flag=True,
    help="Receive flow steering on the server's host: packets go to the CPU of the process that reads them; takes root "
    "and the testbed netns.",
)  # fmt: skip


def _run(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a run that is stored, and can go on."""
    options = [
        click.option("--blocks", type=Counts(1000, several=False), default=str(plan.BLOCKS), show_default=True,
                     help="How often the servers are started afresh in each cell."),
        click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier run.  [default: random]"),
        click.option("--out", type=FileName(), default=Path("results"), show_default=True, metavar="DIRECTORY",
                     help="Where the run's folder is made."),
        click.option("--json", "json_file", type=FileName(), metavar="FILE",
                     help="Also write the summary to this file."),
        click.option("--resume", "run", type=FileName(), metavar="RUN",
                     help="Go on with this run where it ended; its plan stays, so no other option but --json."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@cli.command()
@_implementations
@_variants
@click.option("--case", "cases", multiple=True, metavar="ID", help="Only this obligation; may repeat.")
def conform(impls: str, externals: Sequence[str], axes: Axes, cases: Sequence[str]) -> int:
    """Check each obligation of CONTRACT.md on running servers; status 1 when one is broken."""
    hosts.clear_away(PROGRESS)
    with leftovers.temporary_folder("conform") as directory:
        kept = conformance.conform(_found(impls, externals, axes=axes), cases, directory, OUTPUT, PROGRESS)
    return 0 if kept else EXIT_FAILED


@cli.command()
@_implementations
@_variants
@click.option(
    "--reference", metavar="NAME", help="What ratios are taken to.  [default: epoll_raw, or its first variant]"
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
@_placement
@_rfs
@click.option("--client", type=click.Choice(get_args(Client)), default="builtin", show_default=True,
              help="What makes the load; ab and wrk take turns of a second at least.")  # fmt: skip
@click.option("--budget", type=Duration(0.1, 86400), help="Load time in all.  [default: 60s; ab, wrk: 3m]")
@click.option("--precision", type=Percentage(0.1, 50), metavar="PERCENT",
              help="End a cell when every ratio is known to this, as in 2%; the budget is then the most.")  # fmt: skip
@click.option("--slice", "slice_s", type=Duration(0.01, 60),
              help="A server's turn in a round; made longer where a slow server needs it.  "
              "[default: 50ms; ab, wrk: 1s]")  # fmt: skip
@_run
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
) -> int:
    """Check conformance, load the servers in interleaved slices, and say which is faster and how sure that is.

    Exit status: 0; 1 when an implementation broke the contract or failed under load, or the run broke off; 2 for bad
    input; 130 after Ctrl-C, SIGTERM or SIGHUP, with a report of what was measured.
    """
    if run is not None:
        _refuse_others(context, "run", "json_file")
        return _status(comparison.resume(run, json_file, OUTPUT, PROGRESS))
    default_slice_s, default_budget_s = (SLICE_S, 60.0) if client == "builtin" else (MIN_TURN_S, 180.0)
    if slice_s is not None and client != "builtin" and slice_s % MIN_TURN_S:
        raise BadInput(f"--slice {slice_s:g}s: {client} takes turns of whole seconds; give 1s, 2s or more")
    request = comparison.Request(
        implementations=_found(impls, externals, axes=axes),
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
        precision=precision,
    )
    return _status(comparison.compare(request, OUTPUT, PROGRESS))


@cli.command()
@click.option("--impls", default=plan.REFERENCE, show_default=True, metavar="NAMES", help="As with compare.")
@_external
@_variants
@click.option("--reference", metavar="NAME", help="As with compare.  [default: epoll_raw, or its first variant]")
@click.option("--workloads", type=Names(WORKLOADS), default="short", show_default=True, help="As with compare.")
@click.option("--workers", type=Ranges(MAX_WORKERS), metavar="NUMBERS",
              help="As in 1..4 or 1,2,4..8.  [default: 1, 2, 4, 8, ... while as many cores are left]")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time for each worker.")  # fmt: skip
@_placement
@_rfs
@click.option("--budget", type=Duration(0.1, 86400), default="60s", show_default=True, help="Load time in all.")
@click.option("--slice", "slice_s", type=Duration(0.01, 60), default="50ms", show_default=True,
              help="A server's turn in a round; made longer where a slow server needs it.")  # fmt: skip
@_run
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
) -> int:
    """Tell how throughput and CPU per request grow with workers, and fit the law of scaling.

    All numbers of workers, and all variants (--listen shared,reuseport,percpu), are measured in the same rounds, with
    the same client. docs/scaling.md has more. Exit status: as with compare.
    """
    if run is not None:
        _refuse_others(context, "run", "json_file")
        return _status(comparison.resume(run, json_file, OUTPUT, PROGRESS))
    numbers = workers or hosts.usual_workers(cpus, workloads)
    request = comparison.Request(
        implementations=_found(impls, externals, axes=axes),
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
        interleaved=True,
    )
    return _status(comparison.compare(request, OUTPUT, PROGRESS))


def _found(
    names: str, externals: Sequence[str], option: str = "--impls", axes: Axes | None = None
) -> list[Implementation]:
    """Find what the user named (``registry.find``), and see that each variant can be started. Raises BadInput."""
    found = find(names, externals, option, axes)
    versions.check(found)
    return found


def _status(result: comparison.Result) -> int:
    if result.outcome == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if result.outcome == "complete" and result.all_judged else EXIT_FAILED


def _refuse_others(context: click.Context, *allowed: str) -> None:
    """Refuse options beside those that go together. Raises BadInput."""
    for option in context.command.params:
        name = option.name or ""
        if name not in allowed and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BadInput(f"{option.opts[0]}: not beside --resume, where the run's own plan counts; leave it out")


@cli.command()
@click.argument("run", type=FileName())
def report(run: Path) -> int:
    """Print a stored run again, on any machine, without running anything."""
    if not profiles.show_stored(run, OUTPUT):
        comparison.show(run, OUTPUT)
    return 0


@cli.command("selftest")
@click.option("--parts", type=Names(PARTS), default=",".join(PARTS), show_default=True,
              help="same: one server twice; difference: planted ones; limits: planted ones.")  # fmt: skip
@click.option("--runs", type=Counts(1000, several=False), default="40", show_default=True,
              help="How many runs of the same server twice.")  # fmt: skip
@_placement
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier self test.  [default: random]")
def selftest_command(
    parts: Sequence[selftest.Part],
    runs: Sequence[int],
    testbed: Choice,
    cpus: Cpus,
    seed: int | None,
) -> int:
    """Try the harness on servers and loads whose truth is known; status 1 when it misses one.

    The same server twice must tie as often as a 95 % interval claims, servers that are slower by a known share must be
    found, and planted limits must be named. Takes some five minutes.
    """
    request = selftest.Request(
        parts=parts, runs=runs[0], testbed=testbed, cpus=cpus, seed=secrets.randbits(32) if seed is None else seed
    )
    return 0 if selftest.selftest(request, OUTPUT, PROGRESS) else EXIT_FAILED


@cli.command()
@click.argument("run", type=FileName())
@click.argument("cell")
@click.option("--impl", metavar="NAME", help="Only this implementation.")
def explain(run: Path, cell: str, impl: str | None) -> int:
    """Print the evidence behind the verdicts of one cell in full.

    RUN is the folder of a stored run. CELL is as in short/w1/c100; its beginning, such as short, is enough where no
    other cell has the same.
    """
    stored.explain(run, cell, impl, OUTPUT)
    return 0


@cli.command()
@click.argument("old", type=FileName())
@click.argument("new", type=FileName())
@click.option("--reference", metavar="NAME",
              help="What ratios are taken to, in both.  [default: OLD's, where it was measured in both]")  # fmt: skip
@click.option("--fail-if-slower", type=Percentage(0.1, 1000), metavar="PERCENT",
              help="End with status 1 when a change for the worse is shown (its interval excludes 1) and its size is "
              "over PERCENT, as in 5%.")  # fmt: skip
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the changes to this file.")
def diff(old: Path, new: Path, reference: str | None, fail_if_slower: float | None, json_file: Path | None) -> int:
    """Say what changed from one stored run to another, and how sure that is.

    Compared are ratios to a reference that both runs have, as absolute speeds of different days are not comparable.
    Requests/s count where the server was the limit in both runs, for the reference as well; elsewhere CPU per request
    does. Exit status: 0; 1 when --fail-if-slower finds something: requests/s less than 100 % - PERCENT of what they
    were, or CPU per request more than 100 % + PERCENT, whichever counts; 2 for bad input.
    """
    kept = stored.diff(old, new, OUTPUT, reference=reference, fail_if_slower=fail_if_slower, json_file=json_file)
    return 0 if kept else EXIT_FAILED


@cli.command()
@click.option("--impls", default=plan.REFERENCE, show_default=True, metavar="NAMES",
              help="Servers to load: folders of impls/, with commas between them.")  # fmt: skip
@_external
@click.option("--clients", type=Names(tuple(WITNESSES)), help="Other load generators.  [default: those installed]")
@click.option("--workloads", type=Names(WORKLOADS), default="short,keepalive", show_default=True,
              help="As with compare.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time.")  # fmt: skip
@click.option("--turns", type=click.IntRange(FEWEST_ROUNDS, MAX_TURNS), default=10, show_default=True,
              help="Turns of each client, of a second.")  # fmt: skip
@_placement
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier one.  [default: random]")
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
    """Compare the built-in load generator with ab and wrk, in turns on the same servers.

    Exit status: 0; 1 when there are no figures for one; 2 for bad input, as when neither is installed.
    """
    request = cross.Request(
        implementations=_found(impls, externals),
        workloads=workloads,
        witnesses=clients,
        concurrency=concurrency,
        turns=turns,
        testbed=testbed,
        cpus=cpus,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    return 0 if cross.crosscheck(request, OUTPUT, PROGRESS) else EXIT_FAILED


@cli.command()
@_implementations
@_variants
@click.option("--workloads", type=Names(WORKLOADS), default=",".join(WORKLOADS), show_default=True,
              help="As with compare.")  # fmt: skip
@_placement
@click.option("--json", "json_file", type=FileName(), metavar="FILE", help="Also write the figures to this file.")
def cost(
    impls: str,
    externals: Sequence[str],
    axes: Axes,
    workloads: Sequence[Workload],
    testbed: Choice,
    cpus: Cpus,
    json_file: Path | None,
) -> int:
    """Count what one request takes: system calls by name, TCP segments, wake-ups. Nothing is timed.

    The figures of our own servers are the same on every run, whatever else the machine does; what varies is marked ~.
    Takes half a minute. Exit status: 0; 1 when there are no figures for one; 2 for bad input, as when strace is not
    installed.
    """
    request = costs.Request(
        implementations=_found(impls, externals, axes=axes),
        workloads=workloads,
        testbed=testbed,
        cpus=cpus,
        json_file=json_file,
    )
    return 0 if costs.cost(request, OUTPUT, PROGRESS) else EXIT_FAILED


@cli.command("profile")
@_implementations
@_variants
@click.option("--workload", type=click.Choice(WORKLOADS), default="short", show_default=True,
              help="As with compare.")  # fmt: skip
@click.option("--workers", type=Counts(MAX_WORKERS, several=False), default="1", show_default=True,
              help="Worker processes of each server.")  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, MAX_CONCURRENCY), default=100, show_default=True,
              help="Connections at a time, at most.")  # fmt: skip
@click.option("--rate", "rates", type=Counts(MAX_RATE_RPS, several=False), metavar="NUMBER",
              help="Requests/s offered to each server.  [default: half of what the slowest can do]")  # fmt: skip
@_placement
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
    """Record with perf where the servers' CPUs go while each serves the same rate, in turns.

    Prints CPU time per request by what was done, and by system call; leaves flame graphs, folded stacks and text for
    speedscope and the Firefox profiler in the run's folder. Exit status: 0; 1 when a server failed under load, or perf
    did; 2 for bad input, as when perf is not installed or may not record; 130 after Ctrl-C or SIGTERM, with the tables
    of what was recorded.
    """
    request = profiles.Request(
        implementations=_found(impls, externals, axes=axes),
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


@cli.command("torture")
@click.option("--impl", "name", default="", metavar="NAME",
              help="A folder of impls/, or NAME+percpu+lean.  [default: none]")  # fmt: skip
@_external
@click.option("--for", "duration_s", type=Duration(2, 86400), default="60s", show_default=True, help="How long.")
@click.option("--workers", type=Counts(64, several=False), default="2", show_default=True,
              help="Worker processes of each of the four servers; they may share CPUs.")  # fmt: skip
@click.option("--until-lost", is_flag=True, help="End as soon as a request is lost.")
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the faults of an earlier one.  [default: random]")
def torture_command(
    name: str,
    externals: Sequence[str],
    duration_s: float,
    workers: Sequence[int],
    until_lost: bool,  # noqa: FBT001  click passes options by name
    seed: int | None,
) -> int:
    """Load one implementation while faults are injected at random, and account for every request.

    Four servers run at once: server mode and proxy, each with and without -k. Workers are killed and stopped,
    connections reset and half-closed anywhere, read and written slowly; backends die and return, break off, stall, or
    answer early; logs vanish or are full. Each reply is compared byte by byte. Exit status: 0; 1 when a request is lost
    and no fault explains it, a descriptor is leaked, or memory has grown; 2 for bad input; 130 after Ctrl-C or SIGTERM,
    with the account so far.
    """
    found = _found(name or "none", externals, "--impl") if name or externals else []
    if len(found) != 1:
        raise BadInput("torture: one program at a time; give --impl NAME or --external NAME='COMMAND'")
    if found[0].obligations is not None:
        raise BadInput(f"--impl {name}: works in some ways only; torture is for what keeps the whole contract")
    request = tortures.Request(
        implementation=found[0],
        duration_s=duration_s,
        workers=workers[0],
        until_lost=until_lost,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    try:
        tortured = tortures.torture(request, PROGRESS)
    except (ServerFailed, OSError) as failure:
        show(PROGRESS, f"harness: error: {failure}")
        return EXIT_FAILED
    show(OUTPUT, torture_report.render(tortured))
    if tortured.interrupted:
        return EXIT_INTERRUPTED
    return 0 if tortured.stood else EXIT_FAILED


@cli.command("soak")
@_implementations
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
@_placement
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
    """Make very many short connections to each implementation, and tell whether its memory or descriptors grow.

    Exit status: 0; 1 when a worker has more of either after the first tenth of the connections, beyond noise, or one
    failed, gave no reply in three slices in a row, or was broken off; 2 for bad input; 130 after Ctrl-C or SIGTERM,
    with what was measured.
    """
    request = soaks.Request(
        implementations=_found(impls, externals),
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
