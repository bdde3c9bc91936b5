"""What the files of a run hold: the plan, the slices and the summary, with units in the fields' names.

Version 2 has more fields than version 1, and each has a default; so a file of version 1 is read as one of version 2
that lacks them. Fields that this version does not know are ignored when reading.
"""

from itertools import combinations
from typing import Annotated, Final, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

SCHEMA: Final = 2
"""The version that is written; it and those before it are read, and a file of a later one is refused."""

SERVER_ENDED: Final = "server ended"
"""The kind of error of a slice in which the server's processes were gone."""
WORKER_ENDED: Final = "worker ended"
"""The kind of error of a slice in which one of them was, whether it was replaced or not."""
NOT_STARTED: Final = "server did not start"
"""The kind of error of a slice that there is instead of a server's first."""
ENDED: Final = frozenset({SERVER_ENDED, WORKER_ENDED, NOT_STARTED})
"""A server with one of these gets no more slices in its cell."""
IDLE_LOST: Final = "idle connection lost"
"""The kind of error of an idle connection that the server ended, or sent something on."""
NO_LOCAL_PORT: Final = "no local port"
"""The kind of error of a connection for which the client's host had no port left."""

Workload = Literal["short", "keepalive", "proxy"]
WORKLOADS: Final[tuple[Workload, ...]] = get_args(Workload)
LARGEST: Final = 2**53
"""Up to here a floating-point number holds every whole one, so any reader of JSON gets what was written; in nanoseconds
it is a hundred days."""
LARGEST_CPU: Final = 2**16 - 1
"""Linux numbers 8192 CPUs at most (NR_CPUS)."""
MOST_FIGURES: Final = 10_000
"""A plan has no more cells, times implementations."""
MOST_EXTRAPOLATIONS: Final = 10
"""A plan asks for no more figures beyond what it measures."""
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
CpuNumber = Annotated[int, Meta(ge=0, le=LARGEST_CPU)]
Seconds = Annotated[float, Meta(gt=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1e9)]
Client = Literal["builtin", "ab", "wrk"]
TestbedName = Literal["loopback", "netns"]
Phase = Literal["load", "fixed-rate", "without-idle"]
"""``load``: what the cell asks for. ``fixed-rate``: open loop, the same for all, well below what the slowest can do.
``without-idle``: as ``load``, on processes of the same server that hold no idle connections."""
_NS_PER_S = 1_000_000_000


class Participant(Protocol):
    """What may take part in a cell."""

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Those it takes part in."""

    @property
    def obligations(self) -> tuple[str, ...] | None:
        """Ids of the obligations that are asked of it; None, for all, unless it is a peer."""


class Cell(msgspec.Struct, frozen=True):
    """One point of the load matrix."""

    workload: Workload
    workers: Positive
    concurrency: Positive
    rate_rps: Positive | None = None
    """The offered rate of an open loop; null stands for a closed loop."""
    idle: Count = 0
    """Connections to each server that are open all the while, and carry nothing."""

    @property
    def key(self) -> str:
        """The cell's name in files, such as ``short/w1/c100``, and with all there can be, ``…/idle9900/r5000``."""
        idle = f"/idle{self.idle}" if self.idle else ""
        rate = "" if self.rate_rps is None else f"/r{self.rate_rps}"
        return f"{self.workload}/w{self.workers}/c{self.concurrency}{idle}{rate}"

    def is_for(self, one: Participant) -> bool:
        """Tell whether one takes part in this cell.

        A peer does not as a proxy with idle connections: HAProxy opens one to the backend for each at once, and ends
        both when that is silent for the time of a reply.
        """
        is_peer = one.obligations is not None
        return self.workload in one.workloads and not (is_peer and self.idle and self.workload == "proxy")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """How a cell is measured; fixed when it begins, as it depends on how fast the servers are."""

    slice_s: Seconds
    rounds: Positive
    """The most; with a precision that is reached before there are fewer."""
    blocks: Positive
    """The rounds are divided over so many blocks as evenly as can be."""
    fixed_rate_rps: Positive | None = None
    """What is offered in the slices at a fixed rate; null: there are none."""

    def block_of(self, number: int) -> int:
        """Tell which block a round belongs to."""
        return number * self.blocks // self.rounds


class PlannedCell(Cell, frozen=True, kw_only=True):
    """A cell with the CPUs that its processes are bound to."""

    server_cpus: tuple[CpuNumber, ...] = ()
    """Worker i of a server runs on the i-th of these."""
    generator_cpus: tuple[CpuNumber, ...] = ()
    """Generator i runs on the i-th of these."""
    backend_cpus: tuple[CpuNumber, ...] = ()
    """One worker of the backend on each; empty without a backend."""
    schedule: Schedule | None = None
    """Null until the cell begins."""

    @property
    def roles(self) -> dict[str, tuple[int, ...]]:
        """The CPUs of each role that there is: ``server``, ``generator`` and ``backend``."""
        roles = {"server": self.server_cpus, "generator": self.generator_cpus, "backend": self.backend_cpus}
        return {name: cpus for name, cpus in roles.items() if cpus}

    @property
    def cpus(self) -> list[int]:
        """All of them, in order, each once."""
        return sorted(set().union(*self.roles.values()))

    @property
    def shared_cpus(self) -> frozenset[int]:
        """The CPUs that two roles have to share."""
        return frozenset().union(*({*one} & {*other} for one, other in combinations(self.roles.values(), 2)))


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A shared library that a server is started with in LD_PRELOAD."""

    name: str
    """What follows the implementation's name, behind a ``+``."""
    path: Annotated[str, Meta(min_length=1)]
    """Absolute, without symbolic links."""
    size_bytes: Count
    sha256: str
    """Of what the file held when the run began, in hexadecimal digits."""


class PlannedImplementation(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation of a run, and whether it kept the contract."""

    name: str
    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    version: str = ""
    """What its ``--version`` prints."""
    conformant: bool = False
    failed_cases: tuple[str, ...] = ()
    """Ids of the obligations that it broke."""
    workloads: tuple[Workload, ...] = WORKLOADS
    """Those it takes part in."""
    obligations: tuple[str, ...] | None = None
    """Ids of the obligations that it was checked for, as with a peer; null: all."""
    preload: Library | None = None
    """What it is started with in LD_PRELOAD, as ``--preload`` asks for."""


class PlanSource(msgspec.Struct, frozen=True, kw_only=True):
    """The file that a run's options were read from (``--plan``)."""

    file: str
    """As it was named."""
    sha256: str
    """Of what it held, in hexadecimal digits."""
    overridden: tuple[str, ...] = ()
    """Its keys in whose place the command line had something else."""
    added: tuple[str, ...] = ()
    """Keys that it does not have, and the command line had."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run sets out to measure, and everything that its figures depend on but the measurements."""

    schema: Literal[1, 2] = SCHEMA
    command: Literal["compare", "profile"] = "compare"
    """What the run's files are for; ``harness scale`` makes comparisons, too."""
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
    testbed: TestbedName = "loopback"
    testbed_notes: tuple[str, ...] = ()
    """Why this one, and what it lacks; a sentence each."""
    rfs: bool = False
    """Whether receive flow steering is on, on the server's host."""
    client: Client = "builtin"
    """What makes the load."""
    blocks: Positive = 1
    """How often each server is started afresh in a cell; the rounds are divided over the blocks."""
    precision: Share | None = None
    """A cell ends when every interval of a ratio is within this share of its value; null: when its time is over."""
    conformance_checked: bool = True
    """Whether all implementations have been checked; before that none is conformant."""
    interleaved: bool = False
    """Whether the cells of one workload are up at once, and a round has a slice of each of them: for its scaling."""
    extrapolate_to: Annotated[tuple[Positive, ...], Meta(max_length=MOST_EXTRAPOLATIONS)] = ()
    """Numbers of workers for which the fitted law's throughput is told where none was measured with as many."""
    source: PlanSource | None = None
    """Where the options stand that it was made of; null: all were given on the command line."""

    def __post_init__(self) -> None:
        """Refuse a plan that contradicts itself, with ValueError (ValidationError when it is read from a file)."""
        names = [implementation.name for implementation in self.implementations]
        if len(set(names)) != len(names):
            raise ValueError("two implementations have the same name")
        if self.reference not in names:
            raise ValueError(f"the reference {self.reference!r} is not among the implementations")
        if len(self.cells) * len(names) > MOST_FIGURES:
            raise ValueError(f"it has more than {MOST_FIGURES} figures: cells, times implementations")
        if len({cell.key for cell in self.cells}) != len(self.cells):
            raise ValueError("a cell stands there twice")
        if not all(self.taking_part(cell) for cell in self.cells):
            raise ValueError("a cell has no implementation that takes part in it")

    @property
    def conformant(self) -> tuple[PlannedImplementation, ...]:
        """The implementations that are measured."""
        return tuple(implementation for implementation in self.implementations if implementation.conformant)

    @property
    def groups(self) -> tuple[tuple[PlannedCell, ...], ...]:
        """The cells that are measured together: each by itself, or those that differ in workers and connections."""
        if not self.interleaved:
            return tuple((cell,) for cell in self.cells)
        found: dict[tuple[Workload, int | None, int], list[PlannedCell]] = {}
        for cell in self.cells:
            found.setdefault((cell.workload, cell.rate_rps, cell.idle), []).append(cell)
        return tuple(map(tuple, found.values()))

    def taking_part(self, cell: Cell) -> tuple[PlannedImplementation, ...]:
        """Return the implementations that a cell is about, whether they are measured or not."""
        return tuple(one for one in self.implementations if cell.is_for(one))


class CpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one CPU did during a slice. The split is in 10 ms ticks: only sums over many slices mean something."""

    cpu: CpuNumber
    span_ns: Count
    """How long it was watched: the slice and a little more."""
    busy_ns: Count
    """How long of that it was not idle."""
    exact: bool = False
    """Whether that is from the times that the kernel keeps of idle states; else it is in ticks, too."""
    user_ns: Count
    system_ns: Count
    softirq_ns: Count
    """With hardware interrupts."""
    idle_ns: Count
    steal_ns: Count


class ContextSwitches(msgspec.Struct, frozen=True):
    """How often processes gave up their CPU, and how often it was taken from them."""

    voluntary: Count
    involuntary: Count


class TcpCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How far the kernel's TCP counters of a host moved during a slice (RFC 4022, and Linux's own)."""

    segments_in: Count
    segments_out: Count
    retransmitted: Count
    listen_overflows: Count
    """Handshakes that were complete when the accept queue was full."""
    listen_drops: Count
    """SYNs and handshakes dropped by listening sockets, the former ones included."""


class ClientPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The local ports of the client's host."""

    time_wait: Count
    left: Count
    """Those of the ephemeral range that no socket holds."""


class WorkerLocality(msgspec.Struct, frozen=True, kw_only=True):
    """Connections of a worker that were asked on which CPU their packets arrive, and how many said the worker's."""

    local_accepts: Count = 0
    sampled_accepts: Count = 0
    """Of the clients' connections, as they were accepted."""
    local_backends: Count = 0
    sampled_backends: Count = 0
    """Of those to backends, as replies were read."""


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
    started_ns: Count = 0
    """When that began, by the machine's monotonic clock; 0: not known."""
    phase: Phase = "load"
    rate_rps: Positive | None = None
    """The rate that was offered; null in a closed loop."""
    block: Count = 0
    """Slices with the same block, cell and implementation were answered by the same processes."""
    requests: Count
    """Correct replies in all."""
    window_requests: Count
    """Correct replies that count for the rate; 0 where the slice was too short to tell one."""
    window_ns: Count
    errors: dict[str, Count] = {}
    failure: str = ""
    """What had become of the server, and its last lines, where it ended or gave too many errors; else empty."""
    generator_cpu_ns: list[Count] = []
    """One figure for each generator process."""
    lateness_ns: Count = 0
    """In an open loop: how late the generator itself began its requests."""
    server_cpu_ns: Count = 0
    """All processes of the server together, from a source that counts nanoseconds."""
    server_user_ns: Count = 0
    """From 10 ms ticks: only the share of user and system, summed over many slices, means something."""
    server_system_ns: Count = 0
    backend_cpu_ns: Count = 0
    cpus: list[CpuUse] = []
    """What each CPU of server, client and backend did meanwhile."""
    context_switches: ContextSwitches | None = None
    """Of all processes of the server."""
    tcp: TcpCounts | None = None
    """Of the server's host; on loopback that is the client's, too."""
    ports: ClientPorts | None = None
    """Of the client's host, at the end of the slice."""
    rss_bytes: Count = 0
    """Resident memory of all processes of the server together at the end of the slice; shared pages count in each."""
    idle_rss_bytes: int | None = None
    """How much its resident memory grew when the idle connections were opened, at the begin of the block."""
    worker_accepted: list[Count] = []
    """Connections that each worker has told of since the slice before (STAT-VERBOSE, so once a second)."""
    worker_local: list[WorkerLocality] = []
    """What each worker has told likewise of where their packets arrive (STAT-LOCALITY)."""
    backend_rps: Count = 0
    """What the same generators got from the backend without a server between, at the begin of the block."""

    @property
    def window_rps(self) -> float:
        """Requests per second of the part that counts for the rate; 0 where that is too short to tell one."""
        return self.window_requests * _NS_PER_S / self.window_ns if self.window_ns else 0.0


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; all three are null where no claim is made."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def holds(self, figure: float) -> bool:
        """Tell whether the interval holds ``figure``; where no claim is made it holds nothing."""
        return self.low is not None and self.high is not None and self.low <= figure <= self.high

    @property
    def half_width_share(self) -> float | None:
        """Half the interval as a share of the figure; null where no claim is made."""
        if self.value is None or self.low is None or self.high is None or not self.value:
            return None
        return (self.high - self.low) / 2 / self.value


class LatencyUs(msgspec.Struct, frozen=True):
    """Percentiles of a time."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None


class CpuUsPerRequest(msgspec.Struct, frozen=True):
    """Server CPU time per correct reply; the split is null where no tick was counted.

    Where the server has its CPUs to itself it is all that they did, packets that were handled while its processes slept
    included. Elsewhere it is the processes' own time, and softirq is null.
    """

    user: float | None = None
    system: float | None = None
    softirq: float | None = None
    total: float | None = None


class SegmentsPerRequest(msgspec.Struct, frozen=True):
    """TCP segments of the server's host per correct reply; null on loopback, where both sides count into one."""

    in_: float | None = msgspec.field(default=None, name="in")
    out: float | None = None


class WorkerBalance(msgspec.Struct, frozen=True):
    """The smallest and the largest share of the connections that a worker accepted; N even workers have 1/N each."""

    min_share: float | None = None
    max_share: float | None = None


class AtFixedRate(msgspec.Struct, frozen=True, kw_only=True):
    """CPU per request in an open loop at one rate for all, half of what the slowest can do."""

    rate_rps: Positive | None = None
    cpu_us_per_request: Estimate = Estimate()
    cpu_ratio: Estimate = Estimate()
    """To that of the reference in the same round."""


class WithIdle(msgspec.Struct, frozen=True, kw_only=True):
    """What idle connections cost an implementation."""

    rss_bytes: float | None = None
    """Resident memory of the server for each, mean over the blocks; not the kernel's."""
    throughput_ratio: Estimate = Estimate()
    """Throughput to that of the same server without them, in the same round; only where the server was the limit."""
    cpu_ratio: Estimate = Estimate()
    """CPU per request likewise, whatever was the limit."""


class CellSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed of one implementation in one cell."""

    impl: str
    workload: Workload
    workers: Positive
    concurrency: Positive
    rate_rps: Positive | None = None
    idle: Count = 0
    conformant: bool
    rounds: Count = 0
    """Rounds in which it has a rate."""
    requests: Count = 0
    errors: Count = 0
    throughput_rps: Estimate = Estimate()
    ratio: Estimate = Estimate()
    """Throughput to that of the reference in the same round."""
    latency_us: LatencyUs = LatencyUs()
    """From before the connect (``keepalive``: before the request), in an open loop from when it was due, to the end."""
    connect_us: LatencyUs = LatencyUs()
    """From there to the end of the handshake; open loop only, as the next."""
    first_byte_us: LatencyUs = LatencyUs()
    lateness_us: float | None = None
    """How late the generator itself began requests: 99th percentile of a slice, median over the slices; open loop."""
    cpu_us_per_request: CpuUsPerRequest = CpuUsPerRequest()
    cpu_ratio: Estimate = Estimate()
    """CPU per request to that of the reference in the same round: below 1 is cheaper."""
    at_fixed_rate: AtFixedRate = AtFixedRate()
    with_idle: WithIdle = WithIdle()
    segments_per_request: SegmentsPerRequest = SegmentsPerRequest()
    rss_bytes: Count = 0
    """The most that was seen."""
    worker_balance: WorkerBalance = WorkerBalance()
    local_accept_share: float | None = None
    """Of the clients' connections, those whose packets arrive on the CPU of the worker that accepted them; null where
    no worker told. On loopback they arrive on the CPU of who sent them."""
    sampled_accepts: Count = 0
    """How many were asked, of which that is the share."""
    local_backend_share: float | None = None
    """Of the connections to backends likewise; a connection counts as often as it was asked when read from."""
    sampled_backends: Count = 0
    verdict: str
    evidence: str
    """One line: the figures behind the verdict."""
    errors_by_kind: dict[str, Count] = {}

    @property
    def cell(self) -> Cell:
        """The point of the matrix that this is about."""
        return Cell(self.workload, self.workers, self.concurrency, self.rate_rps, self.idle)


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
    rate_rps: Positive | None = None
    idle: Count = 0
    by: Literal["throughput", "cpu"]
    fixed_rate_rps: Positive | None = None
    """The rate at which CPU per request was compared; null: under full load, each at its own rate."""
    reason: str = ""
    """Why it is not by throughput."""
    standings: tuple[Standing, ...] = ()

    @property
    def cell(self) -> Cell:
        """The point of the matrix that this is about."""
        return Cell(self.workload, self.workers, self.concurrency, self.rate_rps, self.idle)


class ScalingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one implementation makes of a number of workers; the entry of that cell has the rest."""

    workers: Positive
    concurrency: Positive
    speed_up: Estimate = Estimate()
    """Throughput to that with the fewest workers in the same round."""
    efficiency: Estimate = Estimate()
    """Speed-up to how many times as many workers there are: 1 where each does as much as one of the fewest."""
    why_no_speed_up: str = ""
    """Why there is none; empty where there is, and where the verdict allows no claim."""
    cpu_us_per_request: Estimate = Estimate()
    """Server CPU time per correct reply: the mean over the rounds, of what the entry of that cell counts."""
    cpu_ratio: Estimate = Estimate()
    """That to the one with the fewest workers in the same round; no claim where the two do not count the same."""


class Extrapolation(msgspec.Struct, frozen=True):
    """What a law says of a number of workers that was not measured."""

    workers: Positive
    throughput_rps: Estimate


class ScalingLaw(msgspec.Struct, frozen=True, kw_only=True):
    """The Universal Scalability Law as fitted: X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))."""

    lambda_rps: Estimate
    """Throughput of one worker."""
    sigma: Estimate
    """Contention: the share of the work that only one worker at a time can do."""
    kappa: Estimate
    """Coherency: what each pair of workers costs by having to agree."""
    peak_workers: Estimate = Estimate()
    """Where throughput is largest; no claim where kappa's interval holds 0."""
    largest_deviation: Share
    """How far the point that fits worst is from the law, as a share of the law's figure."""
    extrapolations: tuple[Extrapolation, ...] = ()


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Throughput of one implementation against the number of workers."""

    impl: str
    workload: Workload
    points: tuple[ScalingPoint, ...]
    """By workers, fewest first."""
    law: ScalingLaw | None = None
    why_no_law: str = ""
    """Why none could be fitted; empty where one was."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is claimed of a run; the report is made from this alone."""

    schema: Literal[1, 2] = SCHEMA
    reference: str
    cells: tuple[CellSummary, ...]
    rankings: tuple[Ranking, ...] = ()
    interrupted: bool = False
    """The run ended before its plan was done."""
    precision: Share | None = None
    """What was asked for; null: nothing."""
    precision_missed: tuple[str, ...] = ()
    """Cells in which an interval is wider than asked for, or missing."""
    environment_changes: tuple[str, ...] = ()
    """What was different on the machine after the run; a sentence each."""
    scaling: tuple[Scaling, ...] = ()
    """Of a run whose cells were measured together; else empty."""
