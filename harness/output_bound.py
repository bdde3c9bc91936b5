"""What servers print and log is bounded: one that floods its standard error, or its log, is ended for that.

A limit of the kernel's on the size of files (RLIMIT_FSIZE) would hold for all that a program makes, and there are
runtimes that do not start with it. So a thread looks at the files of all running servers now and then.
"""

import os
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

MOST_BYTES = 67_108_864
"""Of one file. With ``-v`` a worker prints some hundred bytes a second."""
_KEPT_BYTES = 32_768
"""Of its beginning and of its end, what is kept of a file that was too long."""
_LOOK_EVERY_S = 0.1
_LEFT_OUT = b"\n... left out by the harness ...\n"


class Watched(Protocol):
    """A running server."""

    log_path: Path
    stdout_path: Path
    stderr_path: Path

    def kill(self, why: str) -> None:
        """End all that comes from it."""


_lock = threading.Lock()
_watched: set[Watched] = set()
_thread: threading.Thread | None = None


def watch(server: Watched) -> None:
    """Look at a server's files from now on; end it when one is too long."""
    global _thread  # noqa: PLW0603  one thread looks after all servers, while there are any
    with _lock:
        _watched.add(server)
        if _thread is None:
            _thread = threading.Thread(target=_look_again_and_again, name="output-bound", daemon=True)
            _thread.start()


def forget(server: Watched) -> None:
    """Look at a server's files no more; it is not being looked at any longer when this returns."""
    with _lock:
        _watched.discard(server)


def _look_again_and_again() -> None:
    global _thread  # noqa: PLW0603  see above
    while True:
        time.sleep(_LOOK_EVERY_S)
        with _lock:
            for server in tuple(_watched):
                try:
                    is_over = _look(server)
                except Exception as error:  # noqa: BLE001  whatever it is, the other servers are still to be looked at
                    text = f"harness: error: output to {server.stderr_path} is no longer bounded: {error}\n"
                    sys.stderr.write(text)
                    is_over = True
                if is_over:
                    _watched.discard(server)
            if not _watched:
                _thread = None
                return


def _look(server: Watched) -> bool:
    """End a server one of whose files is too long; tell whether that was so."""
    files = {
        server.stderr_path: "to standard error",
        server.stdout_path: "to standard output",
        server.log_path: "into its log",
    }
    too_long = [path for path in files if _size(path) > MOST_BYTES]
    if too_long:
        server.kill(f"was ended because it wrote more than {MOST_BYTES >> 20} MiB {files[too_long[0]]}")
        for path in too_long:
            _shorten(path)
    return bool(too_long)


def _size(path: Path) -> int:
    """Return the size of a plain file, 0 of anything else."""
    try:
        found = path.stat()
    except OSError:
        return 0  # there is none (yet), or it is out of reach: no file of ours that grows
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _shorten(path: Path) -> None:
    """Keep the beginning and the end of a file, as its name and its place."""
    with suppress(OSError), path.open("r+b") as file:  # it is gone meanwhile; nothing of it is left then
        file.seek(-_KEPT_BYTES, os.SEEK_END)
        end = file.read()
        file.seek(_KEPT_BYTES)
        file.write(_LEFT_OUT + end)
        file.truncate()
