"""What makes the load, one process of it: what ``Generator`` and the witnesses have in common."""

import select
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from harness.loadgen.messages import Job, Outcome

if TYPE_CHECKING:  # the generator process imports this package too, and does without
    from harness.testbed.host import Host


class GeneratorFailed(Exception):  # noqa: N818  as subprocess.TimeoutExpired: what happened
    """A load generator ended by itself, or gave no outcome in time. What it said is on standard error."""


class Client(ABC):
    """A process that runs a job at a time; as a context manager it takes jobs inside of it, and nothing stays behind.

    A job has steps, for who has to do something between them. Each but the last raises GeneratorFailed when the
    process has ended, and those that wait, when their time is over.
    """

    program: ClassVar[str]
    """What it is called in messages."""

    def __init__(self, cpu: int | None, host: "Host | None" = None) -> None:
        """``cpu`` is where it is to run; None leaves that to the kernel. ``host`` is where it connects from."""
        self._cpu = cpu
        self._host = host

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Get ready to take jobs."""

    @abstractmethod
    def stop(self) -> None:
        """End the process, in the middle of a job too."""

    def run(self, job: Job, timeout_s: float) -> Outcome:
        """Run a job from its first step to its last. Raises GeneratorFailed when there is no outcome in time."""
        self.prepare(job)
        self.wait_prepared(timeout_s)
        self.begin()
        outcome = self.receive(timeout_s)
        self.finish()
        return outcome

    @abstractmethod
    def prepare(self, job: Job) -> None:
        """Let it open the connections that are open before the job's time begins."""

    @abstractmethod
    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is prepared."""

    @abstractmethod
    def begin(self) -> None:
        """Let it send requests; now the job's time begins."""

    def receive(self, timeout_s: float) -> Outcome:
        """Wait for the outcome of the job; connections that are kept are still open then."""
        [outcome] = receive([self], timeout_s)
        return outcome

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to ``take``, while a job runs."""

    @abstractmethod
    def take(self, timeout_s: float) -> Outcome | None:
        """Take what has come, and return the outcome when that was the last of it."""

    @abstractmethod
    def finish(self) -> None:
        """Let it close what is still open."""

    def _namespace_pid(self) -> int | None:
        return self._host.holder_pid if self._host else None

    @property
    def _name(self) -> str:
        return self.program if self._cpu is None else f"{self.program} on CPU {self._cpu}"

    def failed(self, what: str) -> GeneratorFailed:
        """Make the error that says what became of the process."""
        return GeneratorFailed(f"{self._name} {what}")


def receive(clients: Sequence[Client], timeout_s: float) -> list[Outcome]:
    """Wait for the outcomes of clients that run a job together. Raises GeneratorFailed when one does not come in time.

    What one has to tell meanwhile is not left waiting for the others: its pipe holds little, and full would stop it.
    """
    deadline_s = time.monotonic() + timeout_s
    waiting = {client.fileno(): client for client in clients}
    outcomes: dict[Client, Outcome] = {}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting:
        left_s = max(0.0, deadline_s - time.monotonic())
        ready = poll.poll(left_s * 1000)
        if not ready:
            raise next(iter(waiting.values())).failed(f"gave no answer within {timeout_s:g} s")
        for fd, _ in ready:
            outcome = waiting[fd].take(left_s)
            if outcome is not None:
                poll.unregister(fd)
                outcomes[waiting.pop(fd)] = outcome
    return [outcomes[client] for client in clients]
