"""Carries a plan out, when what was is safe."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console

from harness.errors import BadInput
from harness.machine_setting import SOCK_FLOW_ENTRIES
from harness.nic.device import Nic
from harness.report.figures import plural, show
from harness.tune import changing, state, survey, text
from harness.tune.changing import Account
from harness.tune.plan import Plan, Wishes
from harness.tune.request import Request
from harness.tune.settings import OF_QUEUES, Place, QueueCpus, QueueFlows, Setting, of_interrupts
from harness.tune.state import State, Value


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
    saved = _to_save(request, place, nic, found)
    account = Account()
    state.save(request.path, saved)
    try:
        channels = [change for change in found.needed if change.part == "channels"]
        changing.make(channels, place, account)
        # Queues and interrupts are others now; and where the driver has refused, they are not those of the plan.
        settled = replace(wishes, leave=wishes.leave | {"channels"})
        changing.make(survey.make_plan(survey.read(request, place)[0], settled, place).needed, place, account)
    except (OSError, KeyboardInterrupt) as problem:
        _roll_back(request, output, place, saved)
        if isinstance(problem, KeyboardInterrupt):
            raise
        show(output, f"The reason: {problem.filename or request.device}: {problem.strerror or problem}")
        return False
    for line in [*text.listing("Refused:", account.refused), *text.listing("Remarks:", account.remarks)]:
        show(output, line)
    show(
        output, f"{plural(account.changed, 'setting')} changed; what was is in {request.path}; --revert brings it back."
    )
    return not account.refused


def _to_save(request: Request, place: Place, nic: Nic, found: Plan) -> State:
    """Note what is now, and after an earlier apply what was before that. Raises BadInput."""
    now = State(
        boot_id=state.boot_id(place.root),
        namespace=state.namespace(place.root),
        device=nic.name,
        index=nic.index,
        values=tuple(_values(nic, found, place)),
    )
    old = state.load(request.path)
    if old is None or old.boot_id != now.boot_id:
        return now
    if (old.namespace, old.device, old.index) != (now.namespace, now.device, now.index):
        raise BadInput(
            f"{request.path}: has what was before a --apply to another device ({old.device}, number {old.index}); "
            "bring that back with --revert, or give --state with another file"
        )
    # Queues that the first one has added are no part of what was.
    fresh = [one for one in now.values if old.value(one.setting) or not isinstance(one.setting, OF_QUEUES)]
    return msgspec.structs.replace(old, values=state.merged(old.values, fresh))


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


def _roll_back(request: Request, output: Console, place: Place, saved: State) -> None:
    account = Account()
    changing.put_back(saved, place, account)
    if not account.refused:
        state.remove(request.path)
        show(output, "All was brought back as it was.")
        return
    for line in text.listing(f"Not all could be brought back; {request.path} has what was:", account.refused):
        show(output, line)


def _check_no_run() -> None:
    """Refuse while a run is under way that switches receive flow steering off in the end. Raises BadInput."""
    SOCK_FLOW_ENTRIES.clear_away()
    if SOCK_FLOW_ENTRIES.record.exists():
        raise BadInput("--rfs: a run with --rfs is under way, and switches it off in the end; wait for that")
