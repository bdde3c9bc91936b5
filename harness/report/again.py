"""The command that runs a plan again, as far as a plan tells it."""

import itertools
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.report import figures
from harness.schema import Cell, Plan, PlannedImplementation

_FOLDERS = ("impls", "harness.peers")
"""Where the programs are that --impls names."""


@dataclass(frozen=True, slots=True)
class Again:
    """A command for a shell, and what it does not repeat."""

    command: str
    notes: Sequence[str]


def command(plan: Plan) -> Again:
    """Return the command that measures the same again, in the same order."""
    words = [*_implementations(plan), *_load(plan), *_way(plan)]
    shown = shlex.join(["harness", _name(plan), *words])
    return Again(shown, list(_notes(plan)))


def _name(plan: Plan) -> str:
    return "scale" if plan.interleaved else plan.command


def _implementations(plan: Plan) -> Iterator[str]:
    named = [one for one in plan.implementations if _is_named(one)]
    yield from ("--impls", ",".join(dict.fromkeys(map(_plain, named))) or "none")
    for one in plan.implementations:
        if not _is_named(one) and one.preload is None:
            yield from ("--external", f"{one.name}={shlex.join(one.argv)}")
    libraries = {one.preload.name: one.preload.path for one in plan.implementations if one.preload is not None}
    for name, path in libraries.items():
        yield from ("--preload", f"{name}={path}")
    if plan.command == "compare":
        yield from ("--reference", plan.reference)


def _is_named(one: PlannedImplementation) -> bool:
    """Tell whether --impls knows it; all else was given as --external."""
    name = one.name.partition("+")[0]
    return one.argv[1:3] in {("-m", f"{folder}.{name}") for folder in _FOLDERS}


def _plain(one: PlannedImplementation) -> str:
    """Return the name without the library, which --preload adds."""
    parts = one.name.split("+")
    return "+".join(part for part in parts if one.preload is None or part != one.preload.name)


def _load(plan: Plan) -> Iterator[str]:
    cells = plan.cells
    several = plan.command == "compare"
    yield from ("--workloads" if several else "--workload", _numbers([cell.workload for cell in cells]))
    yield from ("--workers", _numbers([cell.workers for cell in cells]))
    concurrency = [cell.concurrency // cell.workers if plan.interleaved else cell.concurrency for cell in cells]
    yield from ("--concurrency", _numbers(concurrency))
    rates = [cell.rate_rps for cell in cells if cell.rate_rps is not None]
    if rates:
        yield from ("--rate", _numbers(rates))
    if any(cell.idle for cell in cells):
        yield from ("--idle", _numbers([cell.idle for cell in cells]))


def _numbers(found: Sequence[object]) -> str:
    return ",".join(map(str, dict.fromkeys(found)))


def _way(plan: Plan) -> Iterator[str]:
    yield from ("--testbed", plan.testbed)
    if plan.rfs:
        yield "--rfs"
    if plan.client != "builtin":
        yield from ("--client", plan.client)
    if plan.precision is not None:
        yield from ("--precision", f"{plan.precision * 100:g}%")
    yield from ("--budget", f"{plan.budget_s:g}s", "--slice", f"{plan.slice_s:g}s")
    if plan.command == "compare":
        yield from ("--blocks", str(plan.blocks))
    yield from ("--seed", str(plan.seed))


def _notes(plan: Plan) -> Iterator[str]:
    yield "CPUs are chosen anew: where the run was told which, add --server-cpus, --client-cpus and --backend-cpus."
    variants = [one.name for one in plan.implementations if not _is_named(one) and "+" in one.name]
    if variants:
        names = figures.listing([figures.printable(name) for name in variants])
        yield f"No option names a single variant of an external program: {names} may need --listen or --lean instead."
    with_library = {(_plain(one), one.preload.name) for one in plan.implementations if one.preload is not None}
    without = {one.name for one in plan.implementations if one.preload is None}
    libraries = {name for _, name in with_library}
    if with_library and with_library != set(itertools.product(without, libraries)):
        yield "--preload starts every implementation with the library and without it; this run had not all of these."
    if not plan.interleaved and not _is_product(plan.cells):
        yield "The command has more cells than this run had."


def _is_product(cells: Sequence[Cell]) -> bool:
    """Tell whether the cells are all that the axes have."""
    if not cells:
        return True
    points = [(cell.workload, cell.workers, cell.concurrency, cell.rate_rps, cell.idle) for cell in cells]
    return math.prod(len(set(axis)) for axis in zip(*points, strict=True)) == len(cells)
