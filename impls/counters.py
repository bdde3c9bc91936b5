"""Counters that workers write and the parent reads: one row of unsigned 64-bit slots per process in shared memory.

A row is a memoryview, so a worker counts with ``counters[REQUESTS] += 1``. Only its process writes a
row, but for EVENTS_MIN and EVENTS_MAX, which the parent sets back when it has read them: an update lost
to that race costs one sample of a minimum or maximum, never a count.
"""

import mmap
from typing import Final

REQUESTS: Final = 0
"""Replies sent in server mode; exchanges completed in proxy mode."""
ACCEPTED: Final = 1
POLLS: Final = 2
EMPTY_POLLS: Final = 3
EVENTS: Final = 4
EVENTS_MIN: Final = 5
EVENTS_MAX: Final = 6
ERROR_ACCEPT: Final = 7
ERROR_READ: Final = 8
ERROR_WRITE: Final = 9
ERROR_BACKEND_REFUSED: Final = 10
"""A backend refused the connection, or it could not be reached."""
ERROR_BACKEND_TIMEOUT: Final = 11
"""A backend did not accept the connection, or did not answer, in time."""
ERROR_BACKEND_BROKEN: Final = 12
"""A backend ended the connection before its reply began or was complete."""
ERROR_IDLE: Final = 13
"""A connection was closed because nothing moved on it."""
ERROR_FULL: Final = 14
"""Accepting paused, as there was no room for more connections, or no descriptor for one."""
ERROR_BACKEND_OUT: Final = 15
"""A backend was left out for a while."""
ERROR_NO_BACKEND: Final = 16
"""A client got a 502 at once, as all backends were left out."""
ERROR_LOG: Final = 17
"""A line could not be written to the log."""
ERROR_RESTARTS: Final = 18
"""The worker died and was replaced; its parent counts that."""
SAMPLED_ACCEPTS: Final = 19
"""Clients' connections that were asked on which CPU their packets arrive (``locality.py``)."""
LOCAL_ACCEPTS: Final = 20
"""Those of them where it was the worker's."""
SAMPLED_BACKENDS: Final = 21
"""Backends' connections likewise."""
LOCAL_BACKENDS: Final = 22

ERRORS: Final = {
    "accept": ERROR_ACCEPT,
    "read": ERROR_READ,
    "write": ERROR_WRITE,
    "backend_refused": ERROR_BACKEND_REFUSED,
    "backend_timeout": ERROR_BACKEND_TIMEOUT,
    "backend_broken": ERROR_BACKEND_BROKEN,
    "backend_out": ERROR_BACKEND_OUT,
    "no_backend": ERROR_NO_BACKEND,
    "idle": ERROR_IDLE,
    "full": ERROR_FULL,
    "log": ERROR_LOG,
    "restarts": ERROR_RESTARTS,
}

ROW_BYTES: Final = 256
"""Two workers never write to the same cache line, nor to neighbouring lines that are fetched as a pair."""
NO_MINIMUM: Final = 2**64 - 1

Row = memoryview


def rows(number: int) -> list[Row]:
    """Make zeroed rows, one per process that writes, that processes forked from here on share."""
    shared = memoryview(mmap.mmap(-1, number * ROW_BYTES))
    made = [shared[i * ROW_BYTES : (i + 1) * ROW_BYTES].cast("Q") for i in range(number)]
    for row in made:
        row[EVENTS_MIN] = NO_MINIMUM
    return made


def record_poll(row: Row, events: int) -> None:
    """Count one return of the poll that delivered ``events`` events."""
    row[POLLS] += 1
    if not events:
        row[EMPTY_POLLS] += 1
        return
    row[EVENTS] += events
    row[EVENTS_MIN] = min(row[EVENTS_MIN], events)
    row[EVENTS_MAX] = max(row[EVENTS_MAX], events)
