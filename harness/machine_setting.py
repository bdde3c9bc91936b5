"""A setting of the whole machine that runs switch on together, and that is off again when the last of them has ended.

The kernel ends what a killed run had started (``launch.py``), but leaves a setting as it is. So who switches one on
says so first, in a record, and holds the record's lock (flock(2)) for as long as the setting is needed. The kernel lets
the lock go when its holder ends, however that happens. Who gets the lock for itself alone is the last one, or comes
after one that was killed, and switches off what the record says was switched on.

The record is in /run, where only root can make one, and whoever may change such a setting is root. Elsewhere than in
/tmp, which a user may have moved (TMPDIR), all runs find the same one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_OFF = "0"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another at each start of the machine, which a /run on a disk outlives, and no setting does."""
_MOST_BYTES = 1000


@dataclass(frozen=True, slots=True)
class MachineSetting:
    """A setting that is 0 where it is off."""

    name: str
    """As sysctl(8) has it."""
    file: Path
    record: Path

    def check(self) -> None:
        """Find out whether this process may change it, without doing so. Raises OSError when not."""
        self.file.open("r+b").close()

    @contextmanager
    def switched_on(self, value: int) -> Iterator[None]:
        """Have the setting at ``value`` for as long as this lasts; one that is on already stays as it is.

        Raises OSError.
        """
        record = self._hold_record()
        try:
            if _read(self.file) == _OFF:
                os.ftruncate(record, 0)
                os.pwrite(record, f"{_read(_BOOT)} {value}".encode(), 0)
                self.file.write_text(f"{value}")
            yield
        finally:
            try:
                self._switch_off(record)
            except KeyboardInterrupt:
                self._switch_off(record)  # all the same: there is one interrupt (``__main__.py``)
                raise
            finally:
                os.close(record)

    def clear_away(self) -> bool:
        """Switch off what a run that died has left on, if nobody needs it now; tell whether there was anything."""
        with suppress(OSError):  # there is no record, or it is not this user's to change
            record = os.open(self.record, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return self._switch_off(record)
            finally:
                os.close(record)
        return False

    def _hold_record(self) -> int:
        """Open the record, with a lock that others may have, too. Raises OSError."""
        while True:
            record = os.open(self.record, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(record, fcntl.LOCK_SH)
                if _is_there(record):
                    return record
            except BaseException:
                os.close(record)
                raise
            os.close(record)  # removed before it could be locked

    def _switch_off(self, record: int) -> bool:
        """Switch off, and remove the record, unless others hold it; tell whether there was anything to do.

        May be done again where it was interrupted.
        """
        with suppress(BlockingIOError):
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_there(record):
                return False
            changed = self._is_changed(record)
            if changed:
                self.file.write_text(_OFF)
            self.record.unlink(missing_ok=True)
            return changed
        return False

    def _is_changed(self, record: int) -> bool:
        """Tell whether the setting is what the record says that a run has made of it; anybody else's stays."""
        noted = os.pread(record, _MOST_BYTES, 0).decode(errors="replace").split()
        return noted == [_read(_BOOT), _read(self.file)]


FLOW_TABLE: Final = "net.core.rps_sock_flow_entries"
SOCK_FLOW_ENTRIES: Final = MachineSetting(
    FLOW_TABLE,
    Path("/proc/sys", *FLOW_TABLE.split(".")),
    Path("/run/percore-rps_sock_flow_entries"),
)
"""The size of the table in which the kernel notes which CPU reads a connection (``testbed/flow_steering.py``)."""


def _read(file: Path) -> str:
    return file.read_text().strip()


def _is_there(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0
