"""What to do when a worker, or the machine, has no descriptor left."""

import errno
import os

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
"""The errors that say so; both pass."""
RETRY_S = 0.02
"""How often one who waits for a descriptor tries again: others than this worker may let one go."""


class Reserve:
    """A descriptor for when there is no other.

    Without one, the clients that a proxy has accepted could have them all, and wait for their backends' for ever.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self.renew()

    def renew(self) -> bool:
        """Have a descriptor; tell whether there was one to be had."""
        if self._fd is None:
            try:
                self._fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR:
                    raise
                return False
        return True

    def give(self) -> None:
        """Let it go, for whoever asks for a descriptor next."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
