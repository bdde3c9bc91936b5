"""What the files of a run hold: the plan, the slices and the summary, with units in the fields' names.

Fields that this version does not know are ignored when reading, so later versions may add some.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

SCHEMA: Final = 1
"""The version that is written; a file of another version is refused."""

SERVER_ENDED: Final = "server ended"
"""The kind of error of a slice in which the server's processes were gone."""
NOT_STARTED: Final = "server did not start"
"""The kind of error of a slice that there is instead of a server's first."""

Workload = Literal["short", "keepalive", "proxy"]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class Cell(msgspec.Struct, frozen=True):
    """One point of the load matrix."""

    workload: Workload
    workers: Positive
    concurrency: Positive

    @property
    def key(self) -> str:
        """The cell's name in files, such as ``short/w1/c100``."""
        return f"{self.workload}/w{self.workers}/c{self.concurrency}"


class PlannedCell(Cell, frozen=True, kw_only=True):
    """A cell with the CPUs that its processes are bound to."""

    server_cpus: tuple[Count, ...] = ()
    """Worker i of a server runs on the i-th of these."""
    generator_cpus: tuple[Count, ...] = ()
    """Generator i runs on the i-th of these."""
    backend_cpus: tuple[Count, ...] = ()
    """One worker of the backend on each; empty without a backend."""

    @property
    def shared_cpus(self) -> frozenset[int]:
        """The CPUs on which a server has to share with a generator or the backend."""
        return frozenset(self.server_cpus) & frozenset(self.generator_cpus + self.backend_cpus)


class PlannedImplementation(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation of a run, and whether it kept the contract."""

    name: str
    argv: tuple[str, ...]
    version: str = ""
    """What its ``--version`` prints."""
    conformant: bool = False
    failed_cases: tuple[str, ...] = ()
    """Ids of the obligations that it broke."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run sets out to measure, and everything that its figures depend on but the measurements."""

    schema: Literal[1] = SCHEMA
    implementations: tuple[PlannedImplementation, ...]
    reference: str
    """The implementation that ratios are taken to."""
    cells: tuple[PlannedCell, ...]
    rounds: Count
    """How many rounds each cell is to get; in a round every implementation has one slice."""
    slice_s: Seconds
    budget_s: Seconds
    """Load time of all slices together."""
    seed: Count
    """Fixes the order of the slices and the bootstrap's draws."""
    testbed: str = "loopback"

    def __post_init__(self) -> None:
        """Refuse a plan that contradicts itself, with ValueError (ValidationError when it is read from a file)."""
        names = [implementation.name for implementation in self.implementations]
        if len(set(names)) != len(names):
            raise ValueError("two implementations have the same name")
        if self.reference not in names:
            raise ValueError(f"the reference {self.reference!r} is not among the implementations")
        if len({cell.key for cell in self.cells}) != len(self.cells):
            raise ValueError("a cell stands there twice")

    @property
    def load_s(self) -> float:
        """The load time of all slices of the plan."""
        return len(self.cells) * len(self.implementations) * self.rounds * self.slice_s

    @property
    def conformant(self) -> tuple[PlannedImplementation, ...]:
        """The implementations that are measured."""
        return tuple(implementation for implementation in self.implementations if implementation.conformant)


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation's turn in a round."""

    cell: str
    impl: str
    round: Count
    position: Count
    """Its place in the order of the round."""
    slice_s: Seconds
    """For how long new requests were begun."""
    wall_ns: Count
    """From before the first request to after the last reply; all CPU times are of this span."""
    requests: Count
    """Correct replies in all."""
    window_requests: Count
    """Correct replies that count for the rate; 0 where the slice was too short to tell one."""
    window_ns: Count
    errors: dict[str, Count] = {}
    generator_cpu_ns: list[Count] = []
    """One figure for each generator process."""
    server_cpu_ns: Count = 0
    """All processes of the server together, from a source that counts nanoseconds."""
    server_user_ns: Count = 0
    """From 10 ms ticks: only the share of user and system, summed over many slices, means something."""
    server_system_ns: Count = 0
    backend_cpu_ns: Count = 0


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; all three are null where no claim is made."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def holds(self, figure: float) -> bool:
        """Tell whether the interval holds ``figure``; where no claim is made it holds nothing."""
        return self.low is not None and self.high is not None and self.low <= figure <= self.high


class LatencyUs(msgspec.Struct, frozen=True):
    """Percentiles of the time from before the connect (or the request) to the last byte of the reply."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None


class CpuUsPerRequest(msgspec.Struct, frozen=True):
    """Server CPU time per correct reply; the split is null where no tick was counted."""

    user: float | None = None
    system: float | None = None
    total: float | None = None


class CellSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed of one implementation in one cell."""

    impl: str
    workload: Workload
    workers: Positive
    concurrency: Positive
    conformant: bool
    rounds: Count = 0
    """Rounds in which it has a rate."""
    requests: Count = 0
    errors: Count = 0
    throughput_rps: Estimate = Estimate()
    ratio: Estimate = Estimate()
    """Throughput to that of the reference in the same round."""
    latency_us: LatencyUs = LatencyUs()
    cpu_us_per_request: CpuUsPerRequest = CpuUsPerRequest()
    cpu_ratio: Estimate = Estimate()
    """CPU per request to that of the reference in the same round: below 1 is cheaper."""
    verdict: str
    evidence: str
    """One line: the figures behind the verdict."""
    errors_by_kind: dict[str, Count] = {}

    @property
    def cell(self) -> Cell:
        """The point of the matrix that this is about."""
        return Cell(self.workload, self.workers, self.concurrency)


class Standing(msgspec.Struct, frozen=True):
    """One implementation's place in a cell."""

    impl: str
    rank: Positive
    """One more than the number of implementations that are shown to be better; equal ranks are ties."""
    ratio_to_first: Estimate


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The order of the implementations in one cell, best first; those without figures are left out."""

    workload: Workload
    workers: Positive
    concurrency: Positive
    by: Literal["throughput", "cpu"]
    reason: str = ""
    """Why it is not by throughput."""
    standings: tuple[Standing, ...] = ()

    @property
    def cell(self) -> Cell:
        """The point of the matrix that this is about."""
        return Cell(self.workload, self.workers, self.concurrency)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is claimed of a run; the report is made from this alone."""

    schema: Literal[1] = SCHEMA
    reference: str
    cells: tuple[CellSummary, ...]
    rankings: tuple[Ranking, ...] = ()
    interrupted: bool = False
    """The run ended before its plan was done."""
