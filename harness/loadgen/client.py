"""What makes the load, one process of it: what ``Generator`` and the witnesses have in common."""

from abc import ABC, abstractmethod
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

    @abstractmethod
    def receive(self, timeout_s: float) -> Outcome:
        """Wait for the outcome of the job; connections that are kept are still open then."""

    @abstractmethod
    def finish(self) -> None:
        """Let it close what is still open."""

    def _namespace_pid(self) -> int | None:
        return self._host.holder_pid if self._host else None

    @property
    def _name(self) -> str:
        return self.program if self._cpu is None else f"{self.program} on CPU {self._cpu}"

    def _failed(self, what: str) -> GeneratorFailed:
        return GeneratorFailed(f"{self._name} {what}")
