"""A descriptor kept for when there is no other.

Without one, clients that were accepted can hold all descriptors and wait, all of them, for one more to reach a backend.
"""

import os
from contextlib import suppress


class Spare:
    """The descriptor, or the want of it."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self.is_kept()

    def is_kept(self) -> bool:
        """Tell whether it is there, after an attempt to have it again."""
        if self._fd is None:
            with suppress(OSError):
                self._fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return self._fd is not None

    def give(self) -> bool:
        """Close it, so that the next descriptor that is asked for can be had; return whether it was there."""
        if self._fd is None:
            return False
        os.close(self._fd)
        self._fd = None
        return True
