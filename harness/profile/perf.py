"""perf(1): whether it may record here, a recording under way, and what it has recorded as text.

A timer of the kernel's makes the samples (``cpu-clock``), as most virtual machines show no counter of the CPU. It does
not interrupt what has switched interrupts off: that is sampled where they are switched on again.
"""

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from harness import processes
from harness.analysis.perf_script import FIELDS
from harness.errors import BadInput
from harness.testbed import cpus, sysctl

FREQUENCY_HZ = 999
"""Samples a second of each CPU; not 1000, which would keep step with the kernel's own ticks."""
PACKAGE = "linux-perf"
BYTES_PER_SAMPLE = 1300
"""At most, with a stack of 127 functions, as deep as perf looks. One of idle time, such as between turns, has 200."""
_ANSWERS_WITHIN_S = 20.0
_ENDS_WITHIN_S = 30.0
"""What is left in its buffers is a second's worth; a busy disk may need long for it."""
_LONGEST_LINE = 300
_ACKNOWLEDGED = b"ack\n"
_OBEYED = {"Events enabled", "Events disabled"}
_MOST_SAID_BYTES = 65_536


class PerfFailed(Exception):  # noqa: N818  as subprocess.TimeoutExpired: what happened
    """perf does not record, or cannot read what it has recorded; the text holds its last words."""

    def __init__(self, what: str, said: str) -> None:
        """Say what has failed, and what perf said."""
        super().__init__(f"{what}: {said}")
        self.said = said


def find() -> str:
    """Return the program's path. Raises BadInput when it is not installed."""
    path = shutil.which("perf")
    if path is None:
        raise BadInput(
            f"profile: perf, which records where the core goes, is not on the PATH; it is in the package {PACKAGE} "
            f"(Debian: apt-get install {PACKAGE})"
        )
    return path


def check(recorded: Sequence[int]) -> None:
    """Find out whether perf may record some CPUs, by doing so for a moment. Raises BadInput."""
    try:
        with Recording(recorded, Path(os.devnull), None):
            pass
    except PerfFailed as refused:
        raise BadInput(
            f"profile: perf may not record CPU {cpus.write(recorded)}: it takes root, the capability CAP_PERFMON, or "
            f"sysctl kernel.perf_event_paranoid at 0 or lower (here {_setting('kernel.perf_event_paranoid')}); a "
            f"container must be started with that right, too; perf: {refused.said}"
        ) from None


def names_kernel_functions() -> bool:
    """Tell whether this process may see where the kernel's functions are (/proc/kallsyms); else they have no names."""
    try:
        with Path("/proc/kallsyms").open() as lines:
            return any(int(line.split(maxsplit=1)[0], 16) for line in lines)
    except (OSError, ValueError, IndexError):
        return False


def _setting(name: str) -> str:
    try:
        return sysctl.read(name)
    except OSError:
        return "not there"


class Recording:
    """perf while it records CPUs into a file; a context manager, in the end of which the file is whole."""

    def __init__(self, recorded: Sequence[int], file: Path, on: Sequence[int] | None) -> None:
        """Record all that runs on some CPUs; ``on`` are those that perf itself may use, None for all."""
        self._recorded = recorded
        self._file = file
        self._on = on
        self._process: subprocess.Popen[bytes] | None = None
        self._said = -1

    def __enter__(self) -> Self:
        """Start it, and return when it records. Raises PerfFailed, and BadInput when it is not installed."""
        # -B: the files of the programs are here, so nothing need be copied to know them again.
        # It records from the order to do so on, which it acknowledges; and never changes the user's own files. Switched
        # off between the turns it would not see which files the servers load that start meanwhile.
        command = [
            find(), "record", "-B", "-N", "-g", "-e", "cpu-clock", "-F", str(FREQUENCY_HZ), "-k", "CLOCK_MONOTONIC",
            "-C", ",".join(map(str, self._recorded)), "-D", "-1", "--control=fd:0,1", "-o", str(self._file),
        ]  # fmt: skip
        self._said = os.memfd_create("what perf says")  # no file, so that it can be told what a full disk does
        try:
            self._process = processes.start(
                command, cwd=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, cpus=self._on
            )
            self._enable(self._process)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it. Raises PerfFailed when it has ended before."""
        try:
            self.check()
            self._end()
        except PerfFailed:
            if kind is None:
                raise
        finally:
            self._kill()

    def check(self) -> None:
        """Make sure that it still records. Raises PerfFailed."""
        if self._process is None or processes.wait_ended(self._process.pid, 0):
            raise PerfFailed("perf has ended while it recorded, and nothing of it can be read", self._last_words())

    def _enable(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("perf was started without pipes")
        with suppress(BrokenPipeError):
            process.stdin.write(b"enable\n")
        what = f"perf does not begin to record into {self._file}"
        # It writes all of its answer at once, or ends.
        if not select.select([process.stdout], [], [], _ANSWERS_WITHIN_S)[0]:
            raise PerfFailed(what, f"it does not answer within {_ANSWERS_WITHIN_S:g} s; {self._last_words()}")
        if process.stdout.read(_MOST_SAID_BYTES).rstrip(b"\0") != _ACKNOWLEDGED:
            processes.wait_ended(process.pid, _ANSWERS_WITHIN_S)
            raise PerfFailed(what, self._last_words())

    def _end(self) -> None:
        """Let it write what is in its buffers. Raises PerfFailed."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise PerfFailed(f"perf does not end within {_ENDS_WITHIN_S:g} s", self._last_words()) from None
        if status not in (0, -signal.SIGINT):
            raise PerfFailed(f"perf has ended with status {status}", self._last_words())

    def _kill(self) -> None:
        said, self._said = self._said, -1
        if said >= 0:
            os.close(said)
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _last_words(self) -> str:
        """Return what it has said, each line once, without what it says of our orders."""
        lines = dict.fromkeys(map(str.strip, _said(self._said).splitlines()))
        return " ".join(line for line in lines if line and line not in _OBEYED)[:_LONGEST_LINE] or "it says nothing"


@contextmanager
def text(file: Path, on: Sequence[int]) -> Iterator[Iterator[str]]:
    """Yield the lines of what was recorded, as harness.analysis.perf_script reads them.

    Raises PerfFailed in the end when perf could not read all of it.
    """
    # Functions that were inlined would be looked up one by one, by another program, which takes minutes.
    command = [find(), "script", "--no-inline", "--ns", "-F", FIELDS, "-i", str(file)]
    ours, theirs = os.pipe()
    with (
        os.fdopen(ours, errors="replace", newline="\n", encoding="utf-8") as lines,
        os.fdopen(os.memfd_create("what perf says"), "rb") as said,
    ):
        try:
            process = processes.start(command, cwd=None, stdout=theirs, stderr=said, cpus=on)
        finally:
            os.close(theirs)
        try:
            yield lines
            if status := process.wait():
                last = _said(said.fileno()).strip().rpartition("\n")[2][:_LONGEST_LINE]
                raise PerfFailed(f"perf script has ended with status {status}", last or "it says nothing")
        finally:
            process.kill()
            process.wait()


def _said(descriptor: int) -> str:
    """Return the end of what was written to a file in memory."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _MOST_SAID_BYTES, max(0, size - _MOST_SAID_BYTES)).decode(errors="replace")
