"""What a run is going to do, in words, before it does it."""

import shlex
import textwrap
from collections.abc import Iterator, Sequence

from harness.report import figures
from harness.report.figures import WIDTH
from harness.schema import Library, Plan, PlanSource

_CPU_HEADERS = (
    "workload", "workers", "connections", "idle ones", "requests/s", "server on CPU", "client on CPU", "backend on CPU"
)  # fmt: skip
_CPU_ALIGNMENT = ("left", *["right"] * 4, *["left"] * 3)

_SHOWN_DIGITS = 12
_NOT_STEERED = (
    "On loopback nothing steers packets: all arrive on the CPU that sent them. So percpu hands out connections by "
    "where the client runs, and how many are local tells that, and not what the server does; --testbed netns steers "
    "them."
)


def render(plan: Plan) -> str:
    """Return the plan: what is compared, the cells, and how long the load takes."""
    cells = [
        [cell.workload, cell.workers, cell.concurrency, figures.number(cell.idle or None, 0)]
        + [figures.number(cell.rate_rps, 0)]
        + [
            " ".join(map(str, cpus)) or figures.NONE
            for cpus in (cell.server_cpus, cell.generator_cpus, cell.backend_cpus)
        ]
        for cell in plan.cells
    ]
    parts = [
        "Plan",
        "\n".join([*_contestants(plan), *_preloaded(plan), *_limited(plan)]),
        textwrap.indent(figures.table(cells, _CPU_HEADERS, _CPU_ALIGNMENT), "  "),
        figures.wrap(figures.printable(_testbed(plan)), WIDTH, "  "),
        figures.wrap(_amount(plan), WIDTH, "  "),
    ]
    if plan.source is not None:
        parts.insert(1, figures.wrap(_source(plan.source), WIDTH, "  "))
    if plan.interleaved and plan.testbed == "loopback":
        parts.append(figures.wrap(_NOT_STEERED, WIDTH, "  "))
    return "\n\n".join(parts) + "\n"


def _source(source: PlanSource) -> str:
    file = f"{figures.printable(source.file)} (SHA-256 {figures.printable(source.sha256[:_SHOWN_DIGITS])}…)"
    but = f", but for {_options(source.overridden)}, as the command line says" if source.overridden else ""
    added = f" The command line adds {_options(source.added)}." if source.added else ""
    return f"From {file}{but}.{added}"


def _options(keys: Sequence[str]) -> str:
    return figures.listing([f"--{figures.printable(key)}" for key in keys])


def _contestants(plan: Plan) -> list[str]:
    names = [
        figures.printable(impl.name) + " (reference)" * (impl.name == plan.reference) for impl in plan.implementations
    ]
    column = max(map(len, names))
    return [
        figures.wrap(
            figures.printable(impl.version or shlex.join(impl.argv)), WIDTH, f"  {name:<{column}}  ", " " * (column + 4)
        )
        for name, impl in zip(names, plan.implementations, strict=True)
    ]


def _preloaded(plan: Plan) -> list[str]:
    """Say who is started with a library, each library once."""
    with_library: dict[Library, list[str]] = {}
    for impl in plan.implementations:
        if impl.preload is not None:
            with_library.setdefault(impl.preload, []).append(figures.printable(impl.name))
    return [
        figures.wrap(
            f"LD_PRELOAD of {figures.listing(names)}: {figures.printable(library.path)} "
            f"({library.size_bytes:,} bytes, SHA-256 {figures.printable(library.sha256[:_SHOWN_DIGITS])}…).",
            WIDTH, "  ", "    ",
        )
        for library, names in with_library.items()
    ]  # fmt: skip


def _limited(plan: Plan) -> list[str]:
    """Say who takes no part where, and who was not asked for the whole contract."""
    workloads = dict.fromkeys(cell.workload for cell in plan.cells)
    told = []
    for impl in plan.implementations:
        name = figures.printable(impl.name)
        out = [workload for workload in workloads if workload not in impl.workloads]
        if out:
            told.append(f"{name} takes no part in {figures.listing(out)}.")
        if any(cell.workload in impl.workloads and not cell.is_for(impl) for cell in plan.cells):
            told.append(f"{name} takes no part in proxy with idle connections.")
    told += _peers(plan)
    return [figures.wrap(text, WIDTH, "  ", "    ") for text in told]


def _peers(plan: Plan) -> Iterator[str]:
    """Say who is one, those together that are asked for the same."""
    peers: dict[tuple[str, ...], list[str]] = {}
    for impl in plan.implementations:
        if impl.obligations is not None:
            peers.setdefault(impl.obligations, []).append(figures.printable(impl.name))
    for obligations, names in peers.items():
        who, they = ("is a peer", "it is") if len(names) == 1 else ("are peers", "they are")
        asked = figures.plural(len(obligations), "obligation")
        yield (
            f"{figures.listing(names)} {who}: of the contract {they} checked for {asked} alone, those that bear on "
            "the work."
        )


def _amount(plan: Plan) -> str:
    blocks = f" in {plan.blocks} blocks, each with fresh servers" if plan.blocks > 1 else ""
    until = "" if plan.precision is None else f", or until every ratio is known to {plan.precision * 100:g} %"
    client = "" if plan.client == "builtin" else f" by {plan.client}"
    has_fixed_rates = not plan.interleaved and any(cell.rate_rps is None for cell in plan.cells)
    fixed = " (in every second round also one at the same rate for all)" if has_fixed_rates else ""
    counts = {len(plan.taking_part(cell)) for cell in plan.cells}
    up_to = "up to " * (len(counts) > 1)
    return (
        f"{figures.plural(len(plan.cells), 'cell')} x {up_to}{figures.plural(max(counts), 'implementation')} x "
        f"{figures.plural(plan.rounds, 'round')} of slices of {plan.slice_s * 1000:g} ms{fixed}{blocks}: a "
        f"budget of {plan.budget_s:.0f} s of load{client}{until}, in an order drawn from seed {plan.seed}. "
        "Where a server is slow, the slices of its cell are longer and the rounds fewer."
    )


def _testbed(plan: Plan) -> str:
    return f"testbed: {plan.testbed}. {' '.join(f'{note[0].upper()}{note[1:]}.' for note in plan.testbed_notes)}"
