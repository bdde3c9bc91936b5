"""Options that several commands have, and what becomes of them."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from harness import plan
from harness.cli import candidates
from harness.errors import BadInput
from harness.options import Counts, CpuList, FileName, Listing, Names, Number, Preload
from harness.peers import PEERS
from harness.plan_file import PlanFile
from harness.registry import Implementation, find
from harness.schema import Library
from harness.testbed import Choice
from harness.testbed.placement import Cpus
from harness.variants import LISTEN_MODES, Axes, ListenMode

MAX_CONCURRENCY = 20_000
"""The generator needs a local port for each connection; on loopback there are about 28 thousand by default."""
MAX_WORKERS = 4096
MAX_RATE_RPS = 10_000_000
TESTBEDS: tuple[Choice, ...] = get_args(Choice)

external = click.option(
    "--external", "externals", multiple=True, metavar="NAME='COMMAND'",
    help="Also any program that takes the flags of CONTRACT.md; may repeat.",
)  # fmt: skip


def implementations(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that name implementations."""
    impls = click.option(
        "--impls", type=Listing(), default="all", show_default=True, metavar="NAMES",
        shell_complete=candidates.implementations,
        help="Folders of impls/, with commas between them, NAME+percpu+lean for one with --listen percpu --lean; "
        f"'all', or 'none'; also {' and '.join(PEERS)}, where installed.",
    )  # fmt: skip
    return impls(external(function))


def variants(function: Callable[..., int]) -> Callable[..., int]:
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


def placement(function: Callable[..., int]) -> Callable[..., int]:
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


def _be_quiet(_context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's own
    from harness.cli.consoles import PROGRESS

    PROGRESS.quiet = value


quiet = click.option(
    "--quiet", "-q", is_flag=True, expose_value=False, callback=_be_quiet,
    help="Nothing on standard error but errors and warnings.",
)  # fmt: skip

rfs = click.option(
    "--rfs", is_flag=True,
    help="Receive flow steering on the server's host: packets go to the CPU of the process that reads them; takes root "
    "and the testbed netns.",
)  # fmt: skip


def stored_run(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a run that is stored, and can go on."""
    options = [
        click.option("--blocks", type=Counts(1000, several=False), default=str(plan.BLOCKS), show_default=True,
                     help="How often the servers are started afresh in each cell."),
        click.option("--seed", type=Number(2**32 - 1), help="Repeats the order of an earlier run.  [default: random]"),
        click.option("--out", type=FileName(), default=Path("results"), show_default=True, metavar="DIRECTORY",
                     help="Where the run's folder is made."),
        click.option("--json", "json_file", type=FileName(), metavar="FILE",
                     help="Also write the summary to this file."),
        click.option("--resume", "run", type=FileName(), metavar="RUN", shell_complete=candidates.runs,
                     help="Go on with this run where it ended; its plan stays, so no other option but --json."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


dry_run = click.option(
    "--dry-run", "dry", is_flag=True,
    help="Print the cells, the CPUs, the processes and how long it would take, and start no server.",
)  # fmt: skip


def plan_file(function: Callable[..., int]) -> Callable[..., int]:
    """Add the option that reads the others from a file; where they have come from becomes one argument."""

    @functools.wraps(function)
    def with_source(*args: Any, plan: PlanFile | None, **others: Any) -> int:
        context = click.get_current_context()
        if plan is None:
            return function(*args, source=None, **others)
        with plan.blamed(context):
            return function(*args, source=plan.source(context), **others)

    return click.option(
        "--plan", type=FileName(), is_eager=True, callback=_read_plan, metavar="FILE",
        shell_complete=candidates.plans,
        help="Read options from a TOML file, a line each, as in budget = '60s', workers = [1, 2] or lean = true; what "
        "is given here as well counts instead; a flag that is true there cannot be taken back. plans/ has some.",
    )(with_source)  # fmt: skip


def _read_plan(context: click.Context, _: click.Parameter, path: Path | None) -> PlanFile | None:
    """Let a file's options stand for those that are not given; it is read before any of these."""
    if path is None:
        return None
    found = PlanFile.read(path, context)
    found.take_effect(context)
    return found


def find_all(
    names: str, externals: Sequence[str], option: str = "--impls", axes: Axes | None = None
) -> list[Implementation]:
    """Find what the user named (``registry.find``), and see that each variant can be started. Raises BadInput."""
    from harness import versions

    found = find(names, externals, option, axes)
    versions.check(found)
    return found


def refuse_others(context: click.Context, *allowed: str) -> None:
    """Refuse options beside those that go together. Raises BadInput."""
    for option in context.command.params:
        name = option.name or ""
        if name not in {*allowed, "quiet"} and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BadInput(f"{option.opts[0]}: not beside --resume, where the run's own plan counts; leave it out")
