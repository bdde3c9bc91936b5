"""What changed from one run to a later one: ratios to a shared reference, never absolute speeds of different days."""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from harness.analysis.environment import differences
from harness.analysis.verdicts import SERVER_BOUND
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.schema import CellSummary, Estimate, Library, Plan, PlannedCell, Summary

Outcome = Literal["better", "worse", "no change shown", "unknown"]
"""By the figure that decides; ``unknown`` where neither figure is known in both runs."""
Figure = Literal["throughput", "cpu"]

_NO_CHANGE: Final = 1.0


@dataclass(frozen=True)
class Judged:
    """One of the two runs."""

    plan: Plan
    """With the shared reference."""
    summary: Summary
    """Judged anew, with that reference."""
    environment: Environment


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """How one implementation changed in one cell, against the reference."""

    cell: str
    impl: str
    throughput: Estimate
    """New ratio of throughputs over old one: below 1 is slower."""
    cpu: Estimate
    """New ratio of CPU per request over old one: above 1 is dearer."""
    old_verdict: str
    new_verdict: str
    decides: Figure | None
    """Throughput where the server was the limit in both runs, for the reference as well; else CPU per request."""
    outcome: Outcome

    def is_worse_by(self, share: float) -> bool:
        """Tell whether a change for the worse is shown, and is of more than ``share`` of the old figure."""
        if self.outcome != "worse":
            return False
        value = (self.throughput if self.decides == "throughput" else self.cpu).value
        return value is not None and abs(value - _NO_CHANGE) > share


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of two runs."""

    reference: str
    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    """What only one of the runs has; a short sentence each."""
    differences: tuple[str, ...]
    """What the runs were measured on and with differently; a short sentence each."""


def choose_reference(old: Plan, new: Plan, asked: str | None) -> str:
    """Return what the ratios of both runs can be taken to: ``asked``, or the runs' own, or the first that both have.

    Raises BadInput when the runs share too little to be compared.
    """
    shared = [impl.name for impl in old.conformant if impl.name in {impl.name for impl in new.conformant}]
    if not {cell.key for cell in old.cells} & {cell.key for cell in new.cells}:
        raise BadInput(f"the runs have no cell in common: {_cells(old)} in OLD, {_cells(new)} in NEW")
    if asked is not None and asked not in shared:
        raise BadInput(f"--reference {asked}: was not measured in both runs; {_names(shared)}")
    if len(shared) <= 1:
        raise BadInput(f"ratios take two implementations that were measured in both runs; {_names(shared)}")
    return next(name for name in (asked, old.reference, new.reference, *shared) if name in shared)


def compare_runs(old: Judged, new: Judged) -> Diff:
    """Compare two runs that were judged with the same reference."""
    then, now = _by_key(old.summary), _by_key(new.summary)
    reference = old.plan.reference
    return Diff(
        reference=reference,
        changes=tuple(
            _change(cell, impl, (entry, now[cell, impl]), (then[cell, reference], now[cell, reference]))
            for (cell, impl), entry in then.items()
            if (cell, impl) in now and impl != reference and (cell, reference) in then and (cell, reference) in now
        ),
        missing=tuple(_missing(old, new)),
        differences=(*_set_up_differently(old.plan, new.plan), *differences(old.environment, new.environment)),
    )


def ratio_of(new: Estimate, old: Estimate) -> Estimate:
    """Estimate new / old of two independent estimates of positive figures, from their intervals alone.

    The interval is MOVER (Zou and Donner, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine, 2008) on the logarithms: each side of the difference has the distance to the
    bound of one estimate and to the opposite bound of the other, added as variances are. So lopsided intervals stay so.
    """
    if not _is_positive(new) or not _is_positive(old):
        return Estimate()
    value, low, high = map(_log, (new.value, new.low, new.high))
    old_value, old_low, old_high = map(_log, (old.value, old.low, old.high))
    change = value - old_value
    return Estimate(
        math.exp(change),
        math.exp(change - math.hypot(value - low, old_high - old_value)),
        math.exp(change + math.hypot(high - value, old_value - old_low)),
    )


def _is_positive(estimate: Estimate) -> bool:
    return all(bound is not None and bound > 0 for bound in (estimate.value, estimate.low, estimate.high))


def _log(bound: float | None) -> float:
    return math.log(bound or math.nan)


def _by_key(summary: Summary) -> dict[tuple[str, str], CellSummary]:
    return {(entry.cell.key, entry.impl): entry for entry in summary.cells}


def _change(
    cell: str, impl: str, own: tuple[CellSummary, CellSummary], reference: tuple[CellSummary, CellSummary]
) -> Change:
    old, new = own
    throughput = ratio_of(new.ratio, old.ratio)
    cpu = ratio_of(new.cpu_ratio, old.cpu_ratio) if _counts_alike(*own) and _counts_alike(*reference) else Estimate()
    server_was_limit = all(entry.verdict == SERVER_BOUND for entry in (*own, *reference))
    decides: Figure | None = None
    if server_was_limit and throughput.value is not None:
        decides = "throughput"
    elif cpu.value is not None:
        decides = "cpu"
    return Change(
        cell=cell,
        impl=impl,
        throughput=throughput,
        cpu=cpu,
        old_verdict=old.verdict,
        new_verdict=new.verdict,
        decides=decides,
        outcome=_outcome(throughput if decides == "throughput" else cpu, less_is_better=decides == "cpu"),
    )


def _counts_alike(old: CellSummary, new: CellSummary) -> bool:
    """Tell whether both figures are the CPU time of the same: the server's CPUs, or its processes alone."""
    return (old.cpu_us_per_request.softirq is None) == (new.cpu_us_per_request.softirq is None)


def _outcome(change: Estimate, *, less_is_better: bool) -> Outcome:
    if change.value is None:
        return "unknown"
    if change.holds(_NO_CHANGE):
        return "no change shown"
    return "better" if (change.value < _NO_CHANGE) == less_is_better else "worse"


def _missing(old: Judged, new: Judged) -> Iterator[str]:
    """Name cells and implementations that one run lacks, those that have figures in one alone, and what is left out."""
    for name, one, other in (("OLD", old, new), ("NEW", new, old)):
        cells = {cell.key for cell in other.plan.cells}
        yield from (f"{cell.key}: only in {name}" for cell in one.plan.cells if cell.key not in cells)
        impls = {impl.name for impl in other.plan.implementations}
        yield from (f"{impl.name}: only in {name}" for impl in one.plan.implementations if impl.name not in impls)
    then, now = _by_key(old.summary), _by_key(new.summary)
    for key in (key for key in then if key in now):
        for name, entry, counterpart in (("OLD", then[key], now[key]), ("NEW", now[key], then[key])):
            if entry.cpu_ratio.value is not None and counterpart.cpu_ratio.value is None:
                yield f"{key[1]} on {key[0]}: has figures in {name} alone; in the other run it is {counterpart.verdict}"
        if not _counts_alike(then[key], now[key]) and None not in {then[key].cpu_ratio.value, now[key].cpu_ratio.value}:
            yield f"CPU of {key[1]} on {key[0]}: one run counts what its CPUs did, the other its processes alone"
    if old.summary.scaling and new.summary.scaling:
        yield "speed-up, efficiency and laws of scaling: each run's report has its own"


def _set_up_differently(old: Plan, new: Plan) -> Iterator[str]:
    """Name what the plans have that bears on the figures and is not the same."""
    plain = (
        ("testbed", old.testbed, new.testbed),
        ("client", old.client, new.client),
        ("cells of a workload", _order(old), _order(new)),
    )
    yield from (f"{name}: {then} then, {now} now" for name, then, now in plain if then != now)
    for name, one, other in (("OLD", old, new), ("NEW", new, old)):
        # Why a testbed was chosen says nothing of what it is.
        lacks = [note for note in one.testbed_notes if note not in other.testbed_notes and not note.startswith("auto ")]
        yield from (f"testbed of {name}: {note}" for note in lacks)
    commands = {impl.name: impl.argv[1:] for impl in new.implementations}
    for impl in old.implementations:
        if impl.argv[1:] != commands.get(impl.name, impl.argv[1:]):
            yield f"command of {impl.name}: {shlex.join(impl.argv[1:])} then, {shlex.join(commands[impl.name])} now"
    libraries = {impl.name: impl.preload for impl in new.implementations}
    for impl in old.implementations:
        before, after = impl.preload, libraries.get(impl.name)
        if before and after and before.sha256 != after.sha256:
            yield f"LD_PRELOAD of {impl.name}: {_library(before)} then, {_library(after)} now"
    versions = {impl.name: impl.version for impl in new.implementations}
    for impl in old.implementations:
        if impl.name in versions and versions[impl.name] != impl.version:
            yield f"{impl.name}: {impl.version or 'no version'} then, {versions[impl.name] or 'no version'} now"
    placed = {cell.key: cell for cell in new.cells}
    for cell in old.cells:
        then, now = _places(cell), _places(placed.get(cell.key, cell))
        if then != now:
            yield f"CPUs of {cell.key}: {then} then, {now} now"


def _order(plan: Plan) -> str:
    return "all up together, slice by slice" if plan.interleaved else "one after the other"


def _library(library: Library) -> str:
    return f"{library.path} with SHA-256 {library.sha256}"


def _places(cell: PlannedCell) -> str:
    return ", ".join(f"{role} {' '.join(map(str, cpus))}" for role, cpus in cell.roles.items()) or "any"


def _cells(plan: Plan) -> str:
    return ", ".join(cell.key for cell in plan.cells) or "none"


def _names(shared: Sequence[str]) -> str:
    return f"these were: {', '.join(shared)}" if shared else "none was"
