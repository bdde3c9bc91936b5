"""A process of ours that is talked to over its standard input and output (``messages.py``), seen from the harness."""

import select
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec

from harness.loadgen.client import GeneratorFailed
from harness.loadgen.messages import READY, frame, read_payload

if TYPE_CHECKING:
    from harness.testbed.host import Host

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 2.0
"""How long it may take to end by itself; then it is killed."""

_M = TypeVar("_M")
_ROOT = Path(__file__).resolve().parents[2]


class PipedProcess:
    """``python -m MODULE ARGUMENT…``, which says that it is ready, and ends when its standard input does."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], host: "Host | None") -> None:
        """``name`` is what it is called in messages; ``host`` is where it connects from."""
        self._name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    def start(self, cpus: Collection[int] | None = None) -> None:
        """Start the process and wait until it is ready. Raises GeneratorFailed when it ends before."""
        from harness import processes  # noqa: PLC0415  a process of ours imports this package too, and does without

        # In a session of its own, so that Ctrl-C in the terminal is for the harness alone to deal with.
        self._process = processes.start(
            self._command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            cpus=cpus,
            namespace_pid=self._host.holder_pid if self._host else None,
        )
        try:
            self.receive(START_TIMEOUT_S, READY)
        except BaseException:
            self.stop()
            raise

    def fileno(self) -> int:
        """Return the descriptor of the pipe that it answers in."""
        _, stdout = self._pipes()
        return stdout.fileno()

    def send(self, message: msgspec.Struct) -> None:
        """Tell it something. Raises GeneratorFailed when it has ended."""
        stdin, _ = self._pipes()
        rest = memoryview(frame(message))
        try:
            while rest:
                rest = rest[stdin.write(rest) :]
        except BrokenPipeError as error:
            raise self._failed("has ended") from error

    def receive(self, timeout_s: float, decoder: "msgspec.msgpack.Decoder[_M]") -> _M:
        """Return what it says next. Raises GeneratorFailed when that does not come in time, or is no such message."""
        try:
            return decoder.decode(self._receive(timeout_s))
        except (ValueError, msgspec.DecodeError) as error:
            raise self._failed(f"said something that makes no sense: {error}") from error

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

    def stop(self) -> None:
        """End the process, whatever it is doing."""
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

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self._name} was not started")
        return self._process

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError(f"{self._name} was started without pipes")
        return process.stdin, process.stdout

    def _failed(self, what: str) -> GeneratorFailed:
        return GeneratorFailed(f"{self._name} {what}")
