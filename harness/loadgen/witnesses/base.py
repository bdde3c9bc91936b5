"""What all witnesses share: a program that is started anew for each job, and held until the job's time begins.

``prepare`` starts a shell that stops itself (SIGSTOP) and, continued by ``begin``, becomes the program. So starting
takes nothing from the time and the CPU time of a job, and several programs begin together.
"""

import math
import os
import shutil
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness import leftovers, ports, processes
from harness.errors import BadInput
from harness.loadgen.client import Client
from harness.loadgen.messages import Counted, Job, Outcome
from harness.observe import cpu_time
from harness.schema import LARGEST
from harness.testbed.host import Host

MIN_TURN_S = 1.0
"""The programs take whole seconds only."""

STATUS = "status"
"""The kind of error of a reply with another status than 200."""
NOT_KEPT = "not kept"
"""The kind of error of a connection that is opened anew where it should have been kept."""

# A connection takes a descriptor, and the soft limit is often 1024: the shell raises it to the hard one.
_HELD = 'ulimit -S -n "$(ulimit -H -n)"; kill -s STOP $$; exec "$@"'
_LONGEST_WORDS = 200
"""Characters of a line that are kept: it becomes the name of a kind of error."""
_STOPPED_OR_ENDED = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program has left behind."""

    status: int
    """Its exit status, negative for a signal as in ``subprocess``."""
    stdout: str
    stderr: str
    quantiles: str = ""
    """What it wrote to the file that it was given for quantiles."""

    @property
    def last_words(self) -> str:
        """Its last line, that on standard error first."""
        lines = [*self.stdout.splitlines(), *self.stderr.splitlines()]
        return next((line.strip()[:_LONGEST_WORDS] for line in reversed(lines) if line.strip()), "it printed nothing")


@dataclass(frozen=True, slots=True)
class Tally:
    """What a program's output says of a job."""

    requests: int = 0
    """Correct replies, as far as the program can tell."""
    duration_ns: int = 0
    quantiles_ns: Sequence[int] = ()
    """Values of latency at evenly spaced quantiles."""
    errors: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse figures that no program can have counted, with ValueError: no file of a run could hold them."""
        figures = (self.requests, self.duration_ns, *self.quantiles_ns, *self.errors.values())
        if not all(0 <= figure <= LARGEST for figure in figures):
            raise ValueError(f"a figure is not from 0 to {LARGEST}")


class Witness(Client):
    """A program in the place of a generator process: another process for each job."""

    package: ClassVar[str]
    """The Debian package that holds it."""

    def __init__(self, cpu: int | None, host: Host | None = None) -> None:
        """As for any client."""
        super().__init__(cpu, host)
        self._path = ""
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._job: Job | None = None
        self._cpu_before_ns = 0
        self._started_ns = 0

    @classmethod
    def installed(cls) -> bool:
        """Tell whether the program is on the PATH."""
        return shutil.which(cls.program) is not None

    @classmethod
    def find(cls) -> str:
        """Return the program's path. Raises BadInput when it is not installed."""
        path = shutil.which(cls.program)
        if path is None:
            raise BadInput(
                f"--client {cls.program}: {cls.program} is not on the PATH; it is in the package {cls.package} "
                f"(Debian: apt-get install {cls.package})"
            )
        return path

    @property
    def pid(self) -> int:
        """The process id, which is another one for each job; RuntimeError between jobs."""
        return self._running().pid

    def start(self) -> None:
        """Get ready to take jobs. Raises BadInput when the program is not installed."""
        self._path = self.find()
        self._folder = leftovers.new_folder(self.program)

    def stop(self) -> None:
        """End the program, in the middle of a job too."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._close_pidfd()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def prepare(self, job: Job) -> None:
        """Start the shell that is to become the program. Raises BadInput for a job of several targets."""
        if len(job.targets) != 1:
            raise BadInput(f"--client {self.program}: {self.program} loads one address of a server, not several")
        command = [self._path, *self.arguments(job, self._file("quantiles"))]
        self._job = job
        self._file("quantiles").unlink(missing_ok=True)
        with self._file("stdout").open("wb") as stdout, self._file("stderr").open("wb") as stderr:
            self._process = processes.start(
                ["/bin/sh", "-c", _HELD, self.program, *command],
                cwd=None,
                stdout=stdout,
                stderr=stderr,
                cpus=None if self._cpu is None else {self._cpu},
                namespace_pid=self._namespace_pid(),
            )
        self._pidfd = os.pidfd_open(self._process.pid)

    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is held. Raises GeneratorFailed."""
        pid = self.pid

        def held_or_ended() -> bool:
            return os.waitid(os.P_PID, pid, _STOPPED_OR_ENDED) is not None

        reached = processes.wait_until(held_or_ended, timeout_s)
        if processes.wait_ended(pid, 0):
            raise self.failed(f"cannot be started: {self._printed(0).last_words}")
        if not reached:
            raise self.failed(f"does not start within {timeout_s:g} s")
        self._cpu_before_ns = cpu_time([pid]).total_ns

    def begin(self) -> None:
        """Let it become the program; now the job's time begins."""
        self._started_ns = time.monotonic_ns()
        os.kill(self.pid, signal.SIGCONT)

    def fileno(self) -> int:
        """Return the descriptor that is readable when the program has ended (pidfd_open(2))."""
        if self._pidfd is None:
            raise RuntimeError(f"{self.program} has no job")
        return self._pidfd

    def take(self, timeout_s: float) -> Outcome:  # noqa: ARG002  it has ended
        """Read what the program printed. Raises GeneratorFailed when that makes no sense."""
        process, job = self._running(), self._job
        if job is None:
            raise RuntimeError(f"{self.program} has no job")
        ended_ns = time.monotonic_ns()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._process = None
        self._close_pidfd()
        tally = self.read(job, self._printed(process.returncode))
        return Outcome(
            started_ns=self._started_ns,
            ended_ns=ended_ns,
            cpu_ns=max(round((usage.ru_utime + usage.ru_stime) * 1e9) - self._cpu_before_ns, 0),
            completed_ns=np.empty(0, np.uint64),
            latency_ns=np.asarray(tally.quantiles_ns, np.uint64),
            errors={kind: count for kind, count in tally.errors.items() if count},
            connect_ns=np.empty(0, np.uint64),
            first_byte_ns=np.empty(0, np.uint64),
            lateness_ns=0,
            counted=Counted(tally.requests, tally.duration_ns),
        )

    def finish(self) -> None:
        """Let it close what is still open: nothing is, as it has ended."""

    @staticmethod
    @abstractmethod
    def arguments(job: Job, quantiles: Path) -> list[str]:
        """Return the program's arguments; ``quantiles`` is a file that it may write."""

    @staticmethod
    @abstractmethod
    def read(job: Job, printed: Printed) -> Tally:
        """Make sense of what it printed. Raises GeneratorFailed when it is no output of such a program."""

    def _close_pidfd(self) -> None:
        pidfd, self._pidfd = self._pidfd, None
        if pidfd is not None:
            os.close(pidfd)

    def _printed(self, status: int) -> Printed:
        quantiles = self._file("quantiles")
        return Printed(
            status,
            self._file("stdout").read_text(errors="replace"),
            self._file("stderr").read_text(errors="replace"),
            quantiles.read_text() if quantiles.exists() else "",
        )

    def _file(self, name: str) -> Path:
        if self._folder is None:
            raise RuntimeError(f"{self.program} was not started")
        return self._folder / name

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.program} has no job")
        return self._process


def url(job: Job) -> str:
    """Return the URL of a job's only target."""
    return f"http://{ports.join(*job.targets[0])}/"


def seconds(duration_s: float) -> str:
    """Return a time in whole seconds, rounded up, as it stands on a command line."""
    return str(max(1, math.ceil(duration_s)))
