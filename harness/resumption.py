"""Whether a stored run can go on here and now, and with what."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import preload, variants
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.peers import PEERS
from harness.registry import ROOT, Implementation, find, is_name, own, vary
from harness.schema import SCHEMA, Plan, PlannedImplementation
from harness.variants import Variant

_NEW = "begin a new run"


def check_schema(plan: Plan, run: Path) -> None:
    """Raise BadInput when an earlier version wrote it: its slices lack what is observed now, and it has no schedule."""
    if plan.schema != SCHEMA:
        raise BadInput(f"--resume {run}: has schema {plan.schema}, and only schema {SCHEMA} can go on; {_NEW}")


def implementations(plan: Plan, run: Path) -> list[Implementation]:
    """Make the implementations of a plan again. Raises BadInput when one is no longer there."""
    known = {*PEERS, *(one.name for one in own())}
    found = []
    for planned in plan.implementations:
        name, variant = _split(planned, run)
        if planned.argv[1:3] not in {("-m", f"impls.{name}"), ("-m", f"harness.peers.{name}")}:
            if shutil.which(planned.argv[0]) is None:
                raise BadInput(
                    f"--resume {run}: no program {planned.argv[0]!r} that can be run here, for {planned.name}"
                )
            found.append(Implementation(planned.name, planned.argv, None, external=True, variant=variant))
        elif name in known:
            found += [vary(one, variant) for one in find(name)]
        else:
            raise BadInput(f"--resume {run}: there is no {planned.argv[2]} in {ROOT} any more; {_NEW}")
        if variant.preload is not None and not preload.is_unchanged(variant.preload):
            raise BadInput(f"--resume {run}: {variant.preload.path} is not what {planned.name} was run with; {_NEW}")
    return found


def _split(planned: PlannedImplementation, run: Path) -> tuple[str, Variant]:
    try:
        name, variant = variants.split(planned.name, planned.preload)
    except BadInput:
        name, variant = "", variants.PLAIN
    if not is_name(name) or variant.preload != planned.preload:
        raise BadInput(f"--resume {run}: {planned.name!r} in its plan is no name that harness compare takes; {_NEW}")
    return name, variant


def check_machine(then: Environment, now: Environment, run: Path) -> None:
    """Raise BadInput when the machine, its kernel or the code is another: figures of two do not mix."""
    for name in ("kernel", "cpu_model", "python", "commit"):
        before, today = getattr(then, name), getattr(now, name)
        if None not in (before, today) and before != today:
            raise BadInput(f"--resume {run}: {name.replace('_', ' ')} was {before} and is {today}; {_NEW}")


def check_testbed(plan: Plan, notes: Sequence[str], run: Path) -> None:
    """Raise BadInput when the testbed lacks something that it had, or has what it lacked."""
    for note in {*plan.testbed_notes} ^ {*notes}:
        if not note.startswith("auto "):  # why it was chosen, not what it is
            raise BadInput(f"--resume {run}: the testbed is not what it was ({note}); {_NEW}")


def check_versions(plan: Plan, run: Path, versions: Mapping[str, str]) -> None:
    """Raise BadInput when an implementation is another than it was: figures of two do not mix."""
    for planned in plan.implementations:
        if versions[planned.name] != planned.version:
            raise BadInput(
                f"--resume {run}: {planned.name} was {planned.version!r} and is {versions[planned.name]!r}; {_NEW}"
            )


def check_cpus(plan: Plan, run: Path) -> None:
    """Raise BadInput when a CPU of the plan may not be used."""
    allowed = os.sched_getaffinity(0)
    for cell in plan.cells:
        missing = [cpu for cpu in cell.cpus if cpu not in allowed]
        if missing:
            raise BadInput(f"--resume {run}: {cell.key} needs CPU {missing[0]}, which this process may not use; {_NEW}")
