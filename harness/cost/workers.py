"""The processes of a server that answer: held, let go, and watched until they sleep."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import observe, processes
from harness.servers import ServerFailed

REST_TIMEOUT_S = 5.0
_POLL_S = 0.0002
_ASLEEP, _STOPPED = b"S", b"Tt"
"""States in proc_pid_stat(5); ``t`` is a process that is stopped and traced."""


class Workers:
    """The workers of one server, all threads together. What they are asked for raises ServerFailed when one ended."""

    def __init__(self, name: str, pids: Sequence[int]) -> None:
        self._name = name
        self.pids = pids
        self._holds = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stop them, and let them go on in the end, whatever happens.

        A poll that is waiting returns with EINTR in this, and is made again (signal(7)).
        """
        self._holds += len(self.pids)
        try:
            self._signal(signal.SIGSTOP)
            self._wait(_STOPPED, "does not stop at SIGSTOP")
            yield
        finally:
            # None of them is asleep when this has returned: who is seen asleep later has been awake.
            self._signal(signal.SIGCONT)

    def wait_asleep(self) -> None:
        """Wait until all their threads wait for something, as a server does that has nothing left to do."""
        self._wait(_ASLEEP, f"still runs {REST_TIMEOUT_S:g} s after its last request, where it should wait")

    def wakeups(self) -> int:
        """Tell how often they have been woken so far: how often they have gone to sleep, but for being held."""
        try:
            return observe.context_switches(self.pids).voluntary - self._holds
        except ProcessLookupError:
            raise self._ended() from None

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                raise self._ended() from None

    def _wait(self, states: bytes, otherwise: str) -> None:
        reached = processes.wait_until(
            lambda: all(state in states for state in self._states()), REST_TIMEOUT_S, every_s=_POLL_S
        )
        if not reached:
            raise ServerFailed(f"{self._name} {otherwise}")

    def _states(self) -> Iterator[int]:
        for pid in self.pids:
            try:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    yield (thread / "stat").read_bytes().rpartition(b") ")[2][0]
            except OSError as error:
                raise self._ended() from error

    def _ended(self) -> ServerFailed:
        return ServerFailed(f"{self._name} has ended")
