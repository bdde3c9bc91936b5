"""What to do when a worker, or the machine, has no descriptor left, or wants for something else of its own."""

import errno
import os

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What a socket cannot be made with, or accepted, for want of a descriptor or of memory; all pass."""
OWN_WANT = EXHAUSTED | {errno.EADDRNOTAVAIL, errno.EAGAIN}
"""What connect(2) fails with for no fault of the other end's; the last two mean that local ports are used up."""
RETRY_S = 0.02
"""How often one who waits for a descriptor tries again: others than this worker may let one go."""


class Reserve:
    """A descriptor for when there is no other.

    Without one, the clients that a proxy has accepted could have them all, and wait for their backends' for ever; and a
    new log could not arrive.
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
                if error.errno not in EXHAUSTED:
                    raise
                return False
        return True

    def give(self) -> bool:
        """Let it go, for whoever asks for a descriptor next; tell whether it was there."""
        if self._fd is None:
            return False
        os.close(self._fd)
        self._fd = None
        return True
