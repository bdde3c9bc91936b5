"""What asyncio leaves to be done at the end of a stream, and of a connection."""

import asyncio
import errno


def end_stream(transport: asyncio.Transport) -> None:
    """Send the end of the stream after what is unsent, to a client or a backend that may have reset by then."""
    try:
        transport.write_eof()
    except OSError as error:
        if not is_late(error):
            raise


def is_late(error: object) -> bool:
    """Tell whether the end of a stream has come too late, after a reset, which reading is going to tell of.

    shutdown(2) fails then with ENOTCONN, and asyncio lets that through: from ``write_eof``, or from a callback of its
    own where there was something unsent.
    """
    return isinstance(error, OSError) and error.errno == errno.ENOTCONN


def let_go(transport: asyncio.Transport) -> None:
    """Have the memory of a closed transport given back at once.

    Until Python 3.13, which does the same, it refers to itself by a method of its own, and waits for the collector.
    """
    transport._read_ready_cb = None  # type: ignore[attr-defined]  # noqa: SLF001
