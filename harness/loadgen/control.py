"""The harness's end of a generator process: start it, give it jobs, take what came of them, stop it."""

from typing import TYPE_CHECKING

import msgspec

from harness.loadgen.client import Client
from harness.loadgen.messages import Job, Measured, Outcome, Proceed
from harness.loadgen.piped import PipedProcess

if TYPE_CHECKING:
    from harness.testbed.host import Host


class Generator(Client):
    """A generator process, which runs job after job."""

    program = "the load generator"

    def __init__(self, cpu: int | None, host: "Host | None" = None, *, slowed_by: float = 0.0) -> None:
        """``slowed_by`` is a share of its CPU time that it is to take more, for the self test."""
        super().__init__(cpu, host)
        arguments = [] if cpu is None else [str(cpu)]
        arguments += ["--slow-down", f"{slowed_by * 100:g}"] if slowed_by else []
        self._process = PipedProcess(self._name, "harness.loadgen.generator", arguments, host)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it takes jobs. Raises GeneratorFailed when it cannot run on its CPU."""
        self._process.start()

    def stop(self) -> None:
        """End the process, in the middle of a job too."""
        self._process.stop()

    def prepare(self, job: Job) -> None:
        """Let it open the connections that are open before the job's time begins."""
        self._process.send(job)

    def wait_prepared(self, timeout_s: float) -> None:
        """Wait until it is prepared."""
        self._process.receive(timeout_s)

    def begin(self) -> None:
        """Let it send requests; now the job's time begins."""
        self._process.send(Proceed())

    def receive(self, timeout_s: float) -> Outcome:
        """Wait for the outcome of the job; connections that are kept are still open then."""
        return _outcome(msgspec.msgpack.decode(self._process.receive(timeout_s), type=Measured))

    def finish(self) -> None:
        """Let it close what is still open."""
        self._process.send(Proceed())


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
