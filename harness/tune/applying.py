"""Carries a plan out, when what was is safe."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.errors import BadInput
from harness.machine_setting import SOCK_FLOW_ENTRIES
from harness.nic.device import Nic
from harness.report import figures
from harness.report.figures import plural, show
from harness.streams import lost_output
from harness.tune import changing, records, state, survey, text
from harness.tune.changing import Account
from harness.tune.plan import Plan, Wishes
from harness.tune.records import Records
from harness.tune.request import Request
from harness.tune.settings import Place, QueueCpus, QueueFlows, Setting, Sysctl, of_interrupts
from harness.tune.state import HostState, State, Value


def apply(request: Request, output: Console, place: Place, nic: Nic, wishes: Wishes, found: Plan) -> bool:
    """Carry a plan out, and tell whether all of it was taken.

    What is refused is told; any other problem, and an interrupt, brings all back as it was.
    Raises BadInput.
    """
    if request.rfs and place.root == Path("/"):
        _check_no_run()
    if not found.needed:
        show(output, "Nothing had to be changed.")
        return True
    old, now = records.load(request, place), _now(place, nic, found)
    _check_same(old.device, now.device, request)
    account = Account()
    records.save(records.merged(old, now), request, place)
    try:
        channels = [change for change in found.needed if change.part == "channels"]
        changing.make(channels, place, account)
        # Queues and interrupts are others now; and where the driver has refused, they are not those of the plan.
        settled = replace(wishes, leave=wishes.leave | {"channels"})
        changing.make(survey.make_plan(survey.read(request, place)[0], settled, place).needed, place, account)
    except BaseException as problem:
        roll_back(request, output, place, now, old)
        if not isinstance(problem, OSError):
            raise
        show(output, f"The reason: {problem.filename or request.device}: {problem.strerror or problem}")
        return False
    columns = figures.columns(output)
    for title, lines in (("Refused:", account.refused), ("Remarks:", account.remarks)):
        for line in text.listing(title, lines, columns):
            show(output, line)
    show(
        output, f"{plural(account.changed, 'setting')} changed; what was is in {request.path}; --revert brings it back."
    )
    if lost_output() is not None:
        sys.stderr.write(f"harness: the changes stand; what was is in {request.path}; --revert brings it back\n")
    return not account.refused


def _now(place: Place, nic: Nic, found: Plan) -> Records:
    """Note what is now."""
    boot_id, namespace = state.boot_id(place.root), state.namespace(place.root)
    values = list(_values(nic, found, place))
    of_host = tuple(one for one in values if isinstance(one.setting, Sysctl))
    of_device = tuple(one for one in values if not isinstance(one.setting, Sysctl))
    host = HostState(boot_id=boot_id, namespace=namespace, devices={nic.index: nic.name}, values=of_host)
    return Records(
        State(boot_id=boot_id, namespace=namespace, device=nic.name, index=nic.index, values=of_device),
        host if of_host else None,
    )


def _check_same(old: State | None, now: State | None, request: Request) -> None:
    """See that what an earlier apply has kept is of this device. Raises BadInput."""
    if old and now and (old.namespace, old.device, old.index) != (now.namespace, now.device, now.index):
        raise BadInput(
            f"{request.path}: has what was before a --apply to another device ({old.device}, number {old.index}); "
            "bring that back with --revert, or give --state with another file"
        )


def _values(nic: Nic, found: Plan, place: Place) -> Iterator[Value]:
    """Yield all that the plan has, and all of queues and interrupts: a change of channels may reset any of it."""
    then = {change.setting: change.then for change in found.changes}
    others: list[Setting] = [
        *of_interrupts(nic.interrupts),
        *(QueueCpus(f"rx-{queue.number}", "rps_cpus") for queue in nic.rx),
        *(QueueFlows(f"rx-{queue.number}") for queue in nic.rx),
        *(QueueCpus(f"tx-{queue.number}", "xps_cpus") for queue in nic.tx),
    ]
    for setting in dict.fromkeys([*then, *others]):
        now = setting.read(place)
        if now is not None:
            yield Value(setting, now, then.get(setting))


def roll_back(request: Request, output: Console, place: Place, now: Records, old: Records) -> None:
    """Bring back what was when this apply began; what an earlier one has kept stays kept."""
    account = Account()
    changing.put_back(now.values, place, account)
    if not account.refused:
        records.save(old, request, place)
        show(output, "All was brought back as it was.")
        return
    title = f"Not all could be brought back; {request.path} has what was:"
    for line in text.listing(title, account.refused, figures.columns(output)):
        show(output, line)


def _check_no_run() -> None:
    """Refuse while a run is under way that switches receive flow steering off in the end. Raises BadInput."""
    SOCK_FLOW_ENTRIES.clear_away()
    if SOCK_FLOW_ENTRIES.record.exists():
        raise BadInput("--rfs: a run with --rfs is under way, and switches it off in the end; wait for that")
