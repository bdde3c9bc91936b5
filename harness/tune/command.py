"""The tune command: shows a plan, carries it out, or brings back what was."""

import os

from rich.console import Console

from harness.errors import BadInput
from harness.nic.device import Kernel, Nic
from harness.report import figures
from harness.report.figures import show
from harness.tune import bystanders, state, survey, text
from harness.tune.alone import alone
from harness.tune.applying import apply
from harness.tune.plan import Plan, Wishes
from harness.tune.request import Request
from harness.tune.reverting import revert
from harness.tune.settings import Place
from harness.tune.state import State


def tune(request: Request, output: Console, kernel: Kernel | None = None) -> bool:
    """Do what was asked for, and tell whether all of it could be done. Raises BadInput."""
    place = Place(kernel or Kernel(), request.device)
    try:
        if request.action == "show":
            _show(request, output, place)
            return True
        _check_root(request)
        with alone(place.root):
            if request.action == "revert":
                return revert(request, output, place)
            return apply(request, output, place, *_show_plan(request, output, place))
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise BadInput(f"--nic {request.device}: {where}{problem.strerror or problem}") from problem


def _show(request: Request, output: Console, place: Place) -> None:
    _, _, planned = _show_plan(request, output, place)
    found = state.load(request.path, State)
    if found and found.boot_id == state.boot_id(place.root):
        show(output, f"What was before an earlier --apply is in {request.path}; --revert brings it back.")
    show(output, "Nothing was changed; --apply does it, as root." if planned.needed else "Nothing is to be changed.")


def _show_plan(request: Request, output: Console, place: Place) -> tuple[Nic, Wishes, Plan]:
    nic, wishes = survey.read(request, place)
    found = survey.make_plan(nic, wishes, place)
    columns, left = figures.columns(output), list(bystanders.find(nic, wishes, place))
    show(output, text.device(nic, wishes.cpus, columns))
    for line in (*text.plan(found, columns), *text.listing("Left to you:", left, columns)):
        show(output, line)
    return nic, wishes, found


def _check_root(request: Request) -> None:
    if os.geteuid() != 0:
        raise BadInput(f"--{request.action}: takes root; without it the plan is shown")
