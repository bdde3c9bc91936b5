"""Brings back what was."""

from dataclasses import replace

from rich.console import Console

from harness.errors import BadInput
from harness.nic import device as devices
from harness.report import figures
from harness.report.figures import plural, show
from harness.tune import changing, records, state, text
from harness.tune.changing import Account
from harness.tune.request import Request
from harness.tune.settings import Place
from harness.tune.state import State


def revert(request: Request, output: Console, place: Place) -> bool:
    """Bring back what was, and forget it."""
    saved = state.load(request.path, State)
    if saved is None:
        show(output, f"Nothing to revert: there is no {request.path}.")
        return True
    if saved.boot_id != state.boot_id(place.root):
        state.remove(request.path)
        show(output, "Nothing to revert: the machine was started since, which has brought all back.")
        return True
    if saved.namespace != state.namespace(place.root):
        raise BadInput(f"{request.path}: is of {saved.device} in another network namespace; run --revert in that one")
    name = _name_now(saved, place)
    account = Account()
    if name and name != saved.device:
        account.remarks.append(f"{saved.device} is called {name} now")
    if name is None:
        account.remarks.append(f"{saved.device} is not there any more, and its settings went with it")
    found = records.load(request, place)
    left = records.without(found, saved.index)
    if left.host and found.host and left.host.devices != found.host.devices:
        others = figures.listing(sorted(left.host.devices.values()))
        account.remarks.append(f"the host's settings stay, for {others}, with whose --revert they come back")
    values = records.of_device(found, saved.index).values
    changing.put_back(values, replace(place, device=name or saved.device), account, is_device_there=name is not None)
    columns = figures.columns(output)
    for title, lines in (("Remarks:", account.remarks), ("Not brought back:", account.refused)):
        for line in text.listing(title, lines, columns):
            show(output, line)
    if account.refused:
        show(output, f"What was stays in {request.path}, for another --revert; remove it when it is of no use.")
        return False
    records.save(left, request, place)
    rest = "the rest" if left.host else "all"
    show(output, f"{plural(account.changed, 'setting')} brought back; {rest} is as it was.")
    return True


def _name_now(saved: State, place: Place) -> str | None:
    """Find the device by its number, since it may have another name; None where it has gone."""
    for name in devices.names(place.kernel):
        try:
            index = int((place.root / "sys/class/net" / name / "ifindex").read_text())
        except OSError:
            continue
        if index == saved.index:
            return name
    return None
