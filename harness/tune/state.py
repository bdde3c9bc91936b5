"""What was, before anything was changed: a file that is on the disk before the first change, and goes with the last.

It is in /run, which only root may write, and which the machine empties when it starts, as it forgets the settings. A
/run that outlives that is told by the machine's boot_id.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from harness import plain_file, strict_json
from harness.errors import BadInput
from harness.tune.settings import Setting

_LARGEST_BYTES = 16 * 2**20
_RIGHT = "it must be as harness tune wrote it"


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A setting as it was, and what it was to be."""

    setting: Setting
    before: str
    then: str | None = None
    """None for what was not to be changed, but may be by changes before it."""


class HostState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a network namespace's host, which all its devices have in common."""

    version: Literal[1] = 1
    boot_id: str
    namespace: int
    devices: dict[int, str]
    """The names, by number, of the devices that were set up with it; the last one to be brought back brings it back."""
    values: tuple[Value, ...]


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one device."""

    version: Literal[1] = 1
    boot_id: str
    """Another at each start of the machine."""
    namespace: int
    """The number of the network namespace."""
    device: Annotated[str, msgspec.Meta(pattern=r"^[^/\s]{1,15}\Z")]
    index: int
    """The device's number, which no other device of the namespace gets."""
    values: tuple[Value, ...]

    def value(self, setting: Setting) -> Value | None:
        """Return what is known of a setting."""
        return next((one for one in self.values if one.setting == setting), None)


_Kind = TypeVar("_Kind", State, HostState)


def default_path(device: str) -> Path:
    """Return where the state of a device is kept."""
    return Path(f"/run/percore-tune-{device}.json")


def host_path(root: Path) -> Path:
    """Return where the state of this network namespace's host is kept."""
    return root / f"run/percore-tune-host-{namespace(root)}.json"


def boot_id(root: Path) -> str:
    """Tell which start of the machine this is."""
    return (root / "proc/sys/kernel/random/boot_id").read_text().strip()


def namespace(root: Path) -> int:
    """Tell the number of the network namespace; of made files there is none."""
    try:
        return (root / "proc/self/ns/net").stat().st_ino
    except OSError:
        return 0


def load(path: Path, kind: type[_Kind]) -> _Kind | None:
    """Read a state; None where there is none. Raises BadInput."""
    try:
        return strict_json.decode(plain_file.read(path, _LARGEST_BYTES), msgspec.json.Decoder(kind))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadInput(f"{path}: {error}; {_RIGHT}") from None


def save(path: Path, state: State | HostState) -> None:
    """Write a state as a whole, and return when it is on the disk. Raises BadInput when it cannot be."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
            _sync_folder(path.parent)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}; nothing was changed") from None


def remove(path: Path) -> None:
    """Forget a state."""
    path.unlink(missing_ok=True)


def merged(old: Sequence[Value], new: Sequence[Value]) -> tuple[Value, ...]:
    """Keep what was before the first change, and take what it is to be from the last plan."""
    then = {one.setting: one.then for one in new}
    kept = [msgspec.structs.replace(one, then=then.get(one.setting) or one.then) for one in old]
    known = {one.setting for one in old}
    return (*kept, *(one for one in new if one.setting not in known))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
