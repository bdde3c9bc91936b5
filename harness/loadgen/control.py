"""The harness's end of a generator process: start it, give it jobs, take what came of them, stop it."""

import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from harness.loadgen.client import Client
from harness.loadgen.messages import Job, Measured, Outcome, Proceed, frame, read_payload

if TYPE_CHECKING:
    from harness.testbed.host import Host

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 2.0
"""How long it may take to end by itself; then it is killed."""

_ROOT = Path(__file__).resolve().parents[2]


class Generator(Client):
    """A generator process, which runs job after job."""

    program = "the load generator"

    def __init__(self, cpu: int | None, host: "Host | None" = None, *, slowed_by: float = 0.0) -> None:
        """``slowed_by`` is a share of its CPU time that it is to take more, for the self test."""
        super().__init__(cpu, host)
        self._slowed_by = slowed_by
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    def start(self) -> None:
        """Start the process and wait until it takes jobs. Raises GeneratorFailed when it cannot run on its CPU."""
        from harness import processes  # noqa: PLC0415  see _outcome

        # In a session of its own, so that Ctrl-C in the terminal is for the harness alone to deal with.
        self._process = processes.start(
            [
                sys.executable,
                "-m",
                "harness.loadgen.generator",
                *([] if self._cpu is None else [str(self._cpu)]),
                *(["--slow-down", f"{self._slowed_by * 100:g}"] if self._slowed_by else []),
            ],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            namespace_pid=self._namespace_pid(),
        )
        try:
            self._receive(START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    def prepare(self, job: Job) -> None:
        """Let it open the connections that are open before the job's time begins."""
        self._send(job)

    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is prepared."""
        self._receive(timeout_s)

    def begin(self) -> None:
        """Let it send requests; now the job's time begins."""
        self._send(Proceed())

    def receive(self, timeout_s: float) -> Outcome:
        """Wait for the outcome of the job; connections that are kept are still open then."""
        return _outcome(msgspec.msgpack.decode(self._receive(timeout_s), type=Measured))

    def finish(self) -> None:
        """Let it close what is still open."""
        self._send(Proceed())

    def _send(self, message: msgspec.Struct) -> None:
        stdin, _ = self._pipes()
        rest = memoryview(frame(message))
        try:
            while rest:
                rest = rest[stdin.write(rest) :]
        except BrokenPipeError as error:
            raise self._failed("has ended") from error

    def stop(self) -> None:
        """End the process, in the middle of a job too."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()

    def _receive(self, timeout_s: float) -> bytes:
        _, stdout = self._pipes()
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(stdout, select.POLLIN)

        def read(size: int) -> bytes:
            if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
                raise self._failed(f"gave no answer within {timeout_s:g} s")
            return stdout.read(size)

        payload = read_payload(read)
        if payload is None:
            raise self._failed("has ended")
        return payload

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the generator was not started")
        return self._process

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the generator was started without pipes")
        return process.stdin, process.stdout


def _outcome(measured: Measured) -> Outcome:
    import numpy as np  # noqa: PLC0415  the generator process imports this package too, and does without it

    return Outcome(
        started_ns=measured.started_ns,
        ended_ns=measured.ended_ns,
        cpu_ns=measured.cpu_ns,
        completed_ns=np.frombuffer(measured.completed_ns, np.uint64),
        latency_ns=np.frombuffer(measured.latency_ns, np.uint64),
        errors=measured.errors,
        connect_ns=np.frombuffer(measured.connect_ns, np.uint64),
        first_byte_ns=np.frombuffer(measured.first_byte_ns, np.uint64),
        lateness_ns=measured.lateness_ns,
    )
