"""One at a time: who changes settings keeps others out."""

import errno
import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import BadInput


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep out others that change settings of this network namespace. Raises BadInput.

    An abstract address (unix(7)) is of one network namespace, and free again after any end of who had it.
    """
    address = f"\0percore-tune-{hashlib.sha256(bytes(root)).hexdigest()[:16]}"
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(address)
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
            raise BadInput("another harness tune is at work here; wait for its end") from None
        yield
