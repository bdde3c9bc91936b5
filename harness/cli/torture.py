"""The command torture."""

import secrets
from collections.abc import Sequence

import click

from harness.__main__ import EXIT_INTERRUPTED
from harness.cli import candidates
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.manual import Documented, Example, Manual
from harness.cli.shared_options import external, find_all, quiet
from harness.errors import BadInput
from harness.options import Counts, Duration, Number

_MANUAL = Manual(
    examples=(
        Example("One implementation for a minute", "harness torture --impl trio"),
        Example(
            "A program of your own, with the faults of an earlier time",
            "harness torture --external mine='./my-server --fast' --for 10m --seed 7",
        ),
        Example("Until it loses a request", "harness torture --impl trio --for 1440m --until-lost"),
    ),
    statuses={
        EXIT_FAILED: "a request is lost and no fault explains it, a descriptor is leaked, or memory has grown",
        EXIT_INTERRUPTED: "ended by Ctrl-C, SIGTERM or the end of the terminal, with the account so far",
    },
    files={
        "unexplained.jsonl": "in the folder that is named at the end: each request that no fault explains",
        "faults.jsonl": "there, too: which fault was injected when",
    },
    see_also=("harness conform", "harness soak", "docs/robustness.md"),
)


@click.command("torture", cls=Documented, manual=_MANUAL)
@click.option("--impl", "name", default="", metavar="NAME", shell_complete=candidates.implementation,
              help="A folder of impls/, or NAME+percpu+lean.  [default: none]")  # fmt: skip
@external
@click.option("--for", "duration_s", type=Duration(2, 86400), default="60s", show_default=True, help="How long.")
@click.option("--workers", type=Counts(64, several=False), default="2", show_default=True,
              help="Worker processes of each of the four servers; they may share CPUs.")  # fmt: skip
@click.option("--until-lost", is_flag=True, help="End as soon as a request is lost.")
@click.option("--seed", type=Number(2**32 - 1), help="Repeats the faults of an earlier one.  [default: random]")
@quiet
def torture_command(
    name: str,
    externals: Sequence[str],
    duration_s: float,
    workers: Sequence[int],
    until_lost: bool,  # noqa: FBT001  click passes options by name
    seed: int | None,
) -> int:
    """Inject faults under load, and account for every request.

    Four servers run at once: server mode and proxy, each with and without -k. Workers are killed and stopped,
    connections reset and half-closed anywhere, read and written slowly; backends die and return, break off, stall, or
    answer early; logs vanish or are full. Each reply is compared byte by byte.
    """
    from harness.report import torture as torture_report
    from harness.report.figures import show
    from harness.servers import ServerFailed
    from harness.torture import command as tortures

    found = find_all(name or "none", externals, "--impl") if name or externals else []
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
