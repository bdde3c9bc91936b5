"""The log file: whole lines, appended, that never carry raw bytes from the network."""

import codecs
import errno
import os
import time

from impls import counters
from impls.counters import Row

DEBUG_BYTES = 2048
"""Received bytes shown in one debug line; what is beyond is only counted."""

_escape = codecs.getencoder("unicode_escape")
"""Looked up here: a worker may be a user's who may not read the file that it comes from (``--user``)."""

_ADVICE = {
    errno.EMFILE: "; this worker may have no more: raise the limit with 'ulimit -Hn' as root, or with nofile in "
    "/etc/security/limits.conf (systemd: LimitNOFILE), up to sysctl fs.nr_open, and start again",
    errno.ENFILE: "; the machine may have no more: raise sysctl fs.file-max",
}


def open_file(path: str) -> int:
    """Open a log file to append to. Raises ValueError that begins with "cannot be written"."""
    try:
        # Without O_NONBLOCK, to open a pipe that nobody reads would wait for somebody who does.
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"cannot be written: {reason}") from None


class Log:
    """Appends lines to one file descriptor, each in one write, so that workers' lines do not mix."""

    def __init__(self, fd: int, origin: str, row: Row | None = None) -> None:
        """``row`` is where lines that are lost are counted."""
        self.fd = fd
        self._origin = origin
        self._row = row
        self._is_cut = False
        """The last line was written in part."""
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self._lost = 0

    def line(self, text: str) -> None:
        """Write one line with time and origin. Where it cannot be written it is lost, and the next one says so."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        lost = f"({self._lost} lines before this one could not be written) " if self._lost else ""
        begin = "\n" if self._is_cut else ""
        written = f"{begin}{stamp}.{int(now % 1 * 1000):03d}Z {self._origin}: {lost}{text}\n".encode()
        try:
            taken = os.write(self.fd, written)
        except OSError:
            taken = 0
        self._is_cut = 0 < taken < len(written) or (self._is_cut and not taken)
        if taken == len(written):
            self._lost = 0
            return
        self._lost += 1
        if self._row is not None:
            self._row[counters.ERROR_LOG] += 1

    def problem(self, text: str) -> None:
        """Write a line that may come thousands of times a second: at most once a second, with the number left out."""
        now = time.monotonic()
        if now - self._last_s.get(text, -1.0) < 1.0:
            self._left_out[text] = self._left_out.get(text, 0) + 1
            return
        self._last_s[text] = now
        left_out = self._left_out.pop(text, 0)
        self.line(f"{text} ({left_out} more since the last such line)" if left_out else text)

    def accept_failed(self, error: OSError) -> None:
        """Write why a connection could not be accepted, and what to do when that is a limit."""
        self.problem(f"accept: {error.strerror}{_ADVICE.get(error.errno or 0, '')}")

    def backend_socket_failed(self, error: OSError) -> None:
        """Write why there is no socket for a connection to a backend, and what to do when that is a limit."""
        self.problem(f"socket: {error.strerror}{_ADVICE.get(error.errno or 0, '')}")

    def accepted(self, connection: int, peer: tuple[str, int, *tuple[int, ...]]) -> None:
        """Debug: a connection was accepted; here and below a number, such as its descriptor, tells it apart."""
        host, port = peer[:2]
        self.line(
            f"accept {connection} from [{host}]:{port}" if ":" in host else f"accept {connection} from {host}:{port}"
        )

    def read(self, connection: int, data: bytes | memoryview | bytearray) -> None:
        """Debug: ``data`` was read; empty at the end of the stream."""
        escaped, _ = _escape(bytes(data[:DEBUG_BYTES]).decode("latin-1"))
        shown = escaped.decode("ascii")
        more = f" and {len(data) - DEBUG_BYTES} more" if len(data) > DEBUG_BYTES else ""
        self.line(f'read {connection} {len(data)} bytes "{shown}"{more}')

    def wrote(self, connection: int, count: int) -> None:
        """Debug: ``count`` bytes were handed to the kernel or to the library."""
        self.line(f"write {connection} {count} bytes")

    def closed(self, connection: int) -> None:
        """Debug: a connection was closed."""
        self.line(f"close {connection}")
