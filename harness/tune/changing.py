"""Changes settings, and puts them back."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.tune.plan import Change
from harness.tune.settings import ChannelCount, Place, Setting, Sysctl
from harness.tune.state import Value

_REFUSALS: Final = {
    errno.EOPNOTSUPP,  # the driver cannot
    errno.EINVAL,  # not with this value, as RPS to CPUs that are isolated
    errno.ERANGE,  # not so much of it
    errno.EIO,  # the kernel binds this interrupt itself
    errno.ENOSPC,  # this CPU has no room for another interrupt
    errno.EBUSY,  # another use of the queues is in the way, as of an XDP program
    errno.ENOENT,  # it was there a moment ago
}
"""What a driver or the kernel answers that will not have one setting. Anything else is no matter of one."""


@dataclass(slots=True)
class Account:
    """What came of it, a line each."""

    changed: int = 0
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def write(setting: Setting, place: Place, value: str) -> None:
    """Change one setting. Raises OSError."""
    setting.write(place, value)


def make(changes: Sequence[Change], place: Place, account: Account) -> None:
    """Make changes; what is refused is noted and left as it is. Raises OSError for anything else."""
    for change in changes:
        setting, then = change.setting, change.then
        if setting.read(place) == then:
            continue
        try:
            write(setting, place, then)
        except OSError as problem:
            if problem.errno not in _REFUSALS:
                raise
            account.refused.append(f"{setting}: {then} was refused: {problem.strerror or problem}")
            continue
        account.changed += 1
        now = setting.read(place)
        if now != then:
            account.remarks.append(f"{setting}: the driver has made {now} of {then}")


def put_back(all_values: Sequence[Value], place: Place, account: Account, *, is_device_there: bool = True) -> None:
    """Bring back what was; whatever cannot be is noted. It may be done again, also where it was broken off.

    Without the device, whose settings have gone with it, those of the host alone.
    """
    values = [value for value in all_values if is_device_there or isinstance(value.setting, Sysctl)]
    account.remarks += filter(None, (_of_others(value, place) for value in values))
    # Channels first: queues that come back have lost their settings, and their interrupts. Then the other way round.
    channels = [value for value in values if isinstance(value.setting, ChannelCount)]
    rest = [value for value in values if not isinstance(value.setting, ChannelCount)]
    why: dict[Setting, str] = {}
    for value in (*channels, *reversed(rest)):
        try:
            if value.setting.read(place) != value.before:
                write(value.setting, place, value.before)
                account.changed += 1
        except OSError as problem:
            why[value.setting] = problem.strerror or str(problem)
    for value in values:
        now = _read(value, place)
        if now != value.before:
            account.refused.append(
                f"{value.setting}: is {now or 'not there'} and was {value.before}"
                + (f": {why[value.setting]}" if value.setting in why else "")
            )


def _of_others(value: Value, place: Place) -> str | None:
    """Say when somebody else has changed a setting meanwhile; it is brought back all the same."""
    now = _read(value, place)
    if value.then is None or now is None or now in {value.before, value.then}:
        return None
    return f"{value.setting}: was {now}, which is of somebody else"


def _read(value: Value, place: Place) -> str | None:
    try:
        return value.setting.read(place)
    except OSError:
        return None
