"""What makes the load: our own generator, ab or wrk, a process for each client CPU."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from harness.loadgen.control import Generator
from harness.loadgen.messages import Job, Outcome
from harness.loadgen.witnesses import Ab, Wrk
from harness.schema import Client as Name
from harness.testbed import Host


class Client(Protocol):
    """A process that runs a job at a time; each step but the last raises GeneratorFailed when it has ended."""

    def prepare(self, job: Job) -> None:
        """Let it open the connections that are open before the job's time begins."""

    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is prepared."""

    def begin(self) -> None:
        """Let it send requests; now the job's time begins."""

    def receive(self, timeout_s: float) -> Outcome:
        """Wait for the outcome of the job."""

    def finish(self) -> None:
        """Let it close what is still open."""


def start(stack: ExitStack, name: Name, cpus: Sequence[int], host: Host) -> list[Client]:
    """Start one on each CPU; they end with the stack."""
    return [stack.enter_context(_MAKERS[name](cpu, host)) for cpu in cpus]


_Maker = Callable[[int, Host], AbstractContextManager[Client]]
_MAKERS: Mapping[Name, _Maker] = {"builtin": Generator, "ab": Ab, "wrk": Wrk}
