"""What was, of a device and of its host: the host has a record of its own, which several devices need.

So who brings one device back leaves the host as it is while another is set up, and what the host was before the first
of them is not lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from harness.tune import state
from harness.tune.request import Request
from harness.tune.settings import OF_QUEUES, Place
from harness.tune.state import HostState, State, Value


@dataclass(frozen=True, slots=True)
class Records:
    """Both, None for one that there is not."""

    device: State | None
    host: HostState | None

    @property
    def values(self) -> Sequence[Value]:
        """All that was, of both."""
        return [*(self.device.values if self.device else ()), *(self.host.values if self.host else ())]


def load(request: Request, place: Place) -> Records:
    """Read those of this start of the machine. Raises BadInput."""
    boot_id = state.boot_id(place.root)
    device = state.load(request.path, State)
    host = state.load(state.host_path(place.root), HostState)
    return Records(
        device if device and device.boot_id == boot_id else None,
        host if host and host.boot_id == boot_id else None,
    )


def save(records: Records, request: Request, place: Place) -> None:
    """Have these on the disk. Raises BadInput.

    In an order in which the host never waits for a device without a record, wherever a kill comes.
    """
    host_path = state.host_path(place.root)
    if records.device:
        state.save(request.path, records.device)
    if records.host:
        state.save(host_path, records.host)
    else:
        state.remove(host_path)
    if not records.device:
        state.remove(request.path)


def merged(old: Records, now: Records) -> Records:
    """Keep what was before the first change, of the device and of the host."""
    return Records(_merged_device(old.device, now.device), _merged_host(old.host, now.host))


def without(found: Records, index: int) -> Records:
    """Take a device's part out; the host's stays while another device is set up."""
    if found.host is None or index not in found.host.devices:
        return Records(None, found.host)
    others = {number: name for number, name in found.host.devices.items() if number != index}
    return Records(None, msgspec.structs.replace(found.host, devices=others) if others else None)


def of_device(found: Records, index: int) -> Records:
    """Return what is to be brought back with a device: its own, and the host's if it is the last one."""
    is_last = found.host is not None and list(found.host.devices) == [index]
    return found if is_last else replace(found, host=None)


def _merged_device(old: State | None, now: State | None) -> State | None:
    if old is None or now is None:
        return now
    # Queues that the first one has added are no part of what was.
    fresh = [one for one in now.values if old.value(one.setting) or not isinstance(one.setting, OF_QUEUES)]
    return msgspec.structs.replace(old, values=state.merged(old.values, fresh))


def _merged_host(old: HostState | None, now: HostState | None) -> HostState | None:
    if old is None or now is None:
        return old or now
    values = state.merged(old.values, now.values)
    return msgspec.structs.replace(old, devices=old.devices | now.devices, values=values)
