"""strace(1) on processes that run, and how many system calls it has seen by now.

It stops them at each call, which takes time, and counts exactly; and any user may trace what he has started. perf's
tracepoints cost less, and are root's.
"""

import shutil
import subprocess
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness import processes
from harness.analysis import strace
from harness.errors import BadInput
from harness.servers import ServerFailed

ATTACH_TIMEOUT_S = 5.0
PACKAGE = "strace"


def find() -> str:
    """Return the program's path. Raises BadInput when it is not installed."""
    path = shutil.which("strace")
    if path is None:
        raise BadInput(
            f"cost: strace, which counts the system calls, is not on the PATH; it is in the package {PACKAGE} "
            f"(Debian: apt-get install {PACKAGE})"
        )
    return path


class Tracer:
    """strace, attached to processes with all their threads; as a context manager it lets go of them in the end."""

    def __init__(self, pids: Sequence[int], folder: Path, cpus: Collection[int]) -> None:
        """``folder`` is where it writes, ``cpus`` are those that it may use."""
        self._pids = pids
        self._written = folder / "strace"
        self._said = folder / "strace.err"
        self._cpus = cpus
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Attach it. Raises BadInput when it is not installed, and ServerFailed when it may not trace them."""
        # Neither signals nor the bytes of texts; -f for threads, which each attach by themselves.
        command = [find(), "-f", "-s", "0", "-e", "signal=none", "-o", str(self._written)]
        self._written.touch()
        with self._said.open("wb") as said:
            self._process = processes.start(
                [*command, *(f"--attach={pid}" for pid in self._pids)],
                cwd=None,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cpus=self._cpus,
            )
        try:
            self._wait_attached(self._process.pid)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def calls(self) -> Counter[str]:
        """Count the calls that have returned. strace writes each line at once, before it lets its process go on."""
        return strace.returned(self._written.read_text(errors="replace"))

    def _wait_attached(self, pid: int) -> None:
        def attached_or_ended() -> bool:
            # It says so when it has told all threads to stop; the kernel shows it as their tracer before that.
            said = self._said.read_text(errors="replace")
            return processes.wait_ended(pid, 0) or all(f"Process {one} attached" in said for one in self._pids)

        reached = processes.wait_until(attached_or_ended, ATTACH_TIMEOUT_S)
        if not reached or processes.wait_ended(pid, 0):
            why = self._said.read_text(errors="replace").strip().rpartition("\n")[2] or "it does not attach"
            raise ServerFailed(f"strace cannot trace the server: {why}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(ATTACH_TIMEOUT_S)
            finally:
                process.kill()
                process.wait()
