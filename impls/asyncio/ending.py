"""What asyncio leaves to be done at the end of a stream, and of a connection."""

import asyncio
import errno
import traceback
from typing import Any


def end_stream(transport: asyncio.Transport) -> None:
    """Send the end of the stream after what is unsent, to a client or a backend that may have reset by then."""
    try:
        transport.write_eof()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


def is_late(context: dict[str, Any]) -> bool:
    """Tell whether the end of a stream has come too late, after a reset, which reading is going to tell of.

    shutdown(2) fails then with ENOTCONN, and asyncio lets that through: from ``write_eof``; or, where there was
    something unsent, from a callback of its own, and the loop's exception handler gets it in ``context``.
    """
    error = context.get("exception")
    if not isinstance(error, OSError) or error.errno != errno.ENOTCONN:
        return False
    module = function = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module, function = frame.f_globals["__name__"], frame.f_code.co_name  # in the end, where it was raised
    return module == "asyncio.selector_events" and function.startswith("_write_")


def let_go(transport: asyncio.Transport) -> None:
    """Have the memory of a closed transport given back at once.

    It refers to itself by methods of its own, and would wait for the collector: by the one that reads, and from Python
    3.12 on by the one that writes. From then on ``close`` lets go of both, but not ``abort``, and nor does a reset.
    """
    transport._read_ready_cb = None  # type: ignore[attr-defined]  # noqa: SLF001
    if "_write_ready" in vars(transport):
        transport._write_ready = None  # type: ignore[attr-defined]  # noqa: SLF001
