"""What each implementation says it is, and whether it can be started as its variant asks."""

import shlex
import subprocess
from collections.abc import Iterable

from harness import processes
from harness.errors import BadInput
from harness.registry import Implementation
from harness.schema import PlannedImplementation
from harness.variants import PLAIN

TIMEOUT_S = 20.0
_LONGEST_LINE = 300
_NOT_PRELOADED = "'{}' from LD_PRELOAD cannot be preloaded "
"""What the dynamic loader says of a library that it leaves out; it goes on with status 0."""


def check(implementations: Iterable[Implementation]) -> None:
    """Find out, before anything else is started, which variant cannot be started. Raises BadInput as ``ask``."""
    for one in implementations:
        if one.variant != PLAIN:
            ask(one)


def ask(implementation: Implementation) -> str:
    """Return the first line of what ``--version`` prints; an empty text when it prints none.

    Raises BadInput when that does not end, and for a variant when it fails: its flags or its library are refused.
    """
    command = [*implementation.argv, "--version"]
    library = implementation.variant.preload
    try:
        ended = processes.finish(command, implementation.cwd, TIMEOUT_S, library.path if library else None)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"{implementation.name}: '{shlex.join(command)}' does not end; it should print one line"
        ) from None
    left_out = _NOT_PRELOADED.format(library.path) if library else None  # others there are the user's own
    refusals = [line for line in ended.errors.splitlines() if left_out and left_out in line]
    if implementation.variant != PLAIN and (ended.status or refusals):
        raise BadInput(_refused(implementation, ended, refusals))
    return next(iter(ended.output.strip().splitlines()), "")


def planned(implementation: Implementation) -> PlannedImplementation:
    """Describe one for a plan, before it has been checked. Raises BadInput as ``ask``."""
    return PlannedImplementation(
        name=implementation.name,
        argv=implementation.argv,
        version=ask(implementation),
        workloads=implementation.workloads,
        obligations=implementation.obligations,
        preload=implementation.variant.preload,
    )


def _refused(implementation: Implementation, ended: processes.Finished, refusals: list[str]) -> str:
    library = implementation.variant.preload
    with_library = f" with LD_PRELOAD={library.path}" if library else ""
    said = next(iter([*refusals, *reversed(ended.errors.strip().splitlines())]), "nothing on standard error")
    how = f"ended by signal {-ended.status}" if ended.status < 0 else f"status {ended.status}"
    return f"{implementation.name}: cannot be started{with_library}: {said[:_LONGEST_LINE]} ({how})"
