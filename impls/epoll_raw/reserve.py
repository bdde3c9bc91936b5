"""A descriptor that is kept for when there is no other."""

import os


class Reserve:
    """Without one, clients that were accepted can hold all descriptors, and wait for each other's for ever."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self.renew()

    def renew(self) -> bool:
        """Take a descriptor if none is held; tell whether one is."""
        if self._fd is None:
            try:
                self._fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        return True

    def release(self) -> bool:
        """Let the descriptor go for another use; tell whether there was one."""
        if self._fd is None:
            return False
        os.close(self._fd)
        self._fd = None
        return True
