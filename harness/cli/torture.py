"""The command torture."""

import secrets
from collections.abc import Sequence

import click

from harness.__main__ import EXIT_INTERRUPTED
from harness.cli.consoles import OUTPUT, PROGRESS
from harness.cli.ending import EXIT_FAILED
from harness.cli.shared_options import external, find_all
from harness.errors import BadInput
from harness.options import Counts, Duration, Number


@click.command("torture")
@click.option("--impl", "name", default="", metavar="NAME",
              help="A folder of impls/, or NAME+percpu+lean.  [default: none]")  # fmt: skip
@external
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
