"""One slice: load on one server for some tens of milliseconds, with the kernel's counters read around it."""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import observe
from harness.analysis.latency import Kind, LatencyHistogram
from harness.analysis.verdicts import MOST_ERRORS_SHARE
from harness.analysis.window import Window, window
from harness.loadgen import Client, Counted, Job, Outcome, receive
from harness.schema import SERVER_ENDED, WORKER_ENDED, Cell, ClientPorts, Phase, PlannedCell, Slice
from harness.servers import Server
from harness.snapshot import BackendEnded, Snapshot, Subject
from harness.testbed import Testbed
from harness.worker_statistics import Told

REPLY_TIMEOUT_S = 2.0
"""How long a slice waits at its end for replies that are still due."""
GENERATOR_GRACE_S = 10.0
"""How much longer a generator may take before it is given up."""
BACKEND_ANSWERS_WITHIN_S = 3.0
"""How long the backend may take for a reply where a proxy gives none, before it is given up."""
_LAST_WORDS_WITHIN_S = 0.3
"""How long a server may take to end, or to say something, when a worker of it has ended."""

_NS_PER_S = 1_000_000_000

Latencies = dict[Kind, LatencyHistogram]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that takes part in a cell, up and answering."""

    name: str
    target: tuple[str, int]
    reply: bytes
    """What it answers to a request of the cell's workload, byte for byte."""
    pids: Sequence[int]
    server: Server
    """Tells what has become of it."""
    told: Callable[[], Told]
    """Returns what each worker has told of its connections since the last call."""
    idle_rss_bytes: int | None = None
    """How much its memory grew when its idle connections were opened."""
    lost_idle: Callable[[], int] = int
    """Returns how many of those it has ended since the last call; 0 where it has none. May raise GeneratorFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Which slice it is, and the load that is asked for."""

    slice_s: float
    round: int = 0
    position: int = 0
    block: int = 0
    phase: Phase = "load"
    rate_rps: int | None = None
    """None stands for a closed loop."""
    seed: int = 0
    """Fixes, with cell and round, when the requests of an open loop are due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSide:
    """What makes the load of a cell, and what is watched beside the server."""

    cell: PlannedCell
    clients: Sequence[Client]
    backend: Contestant | None
    """What the proxies relay to; None where there is none."""
    testbed: Testbed
    backend_rps: int = 0
    """What the backend does by itself; 0 where that is not known or there is none."""
    ephemeral_ports: int | None = None
    """How many the client's host has; None where others use them, too."""

    def measure(self, contestant: Contestant, turn: Turn) -> tuple[Slice, Latencies]:
        """Load one server for one slice; the latencies are those of the requests that ended after the ramp.

        Where the server or one of its workers has ended, the slice says so with the error SERVER_ENDED or WORKER_ENDED,
        and has no requests. Where it gave many errors, the slice tells its last lines. Raises GeneratorFailed, and
        BackendEnded when the backend has ended, or answers no more.
        """
        self._prepare(contestant, turn)
        subject = self._subject(contestant)
        try:
            before = Snapshot.before(subject)
            outcomes = self._load(turn)
            after = Snapshot.after(subject)
        except BackendEnded as ended:
            raise self._without_backend(str(ended)) from None
        ports = self._ports()
        for client in self.clients:
            client.finish()
        if before is None or after is None:
            kind = SERVER_ENDED if contestant.server.wait_ended(_LAST_WORDS_WITHIN_S) else WORKER_ENDED
            return unmeasured(self.cell, contestant.name, turn, kind, contestant.server.fate()), {}
        load = _Load.of(outcomes, turn, self.cell.concurrency)
        seen = before.until(after)
        told = contestant.told()
        failed = sum(load.errors.values()) > MOST_ERRORS_SHARE * load.requests
        if failed:
            self._check_backend()
        measured = Slice(
            cell=self.cell.key,
            impl=contestant.name,
            round=turn.round,
            position=turn.position,
            block=turn.block,
            phase=turn.phase,
            rate_rps=turn.rate_rps,
            slice_s=turn.slice_s,
            wall_ns=load.ended_ns - load.started_ns,
            started_ns=load.started_ns,
            requests=load.requests,
            window_requests=load.window.requests,
            window_ns=load.window.duration_ns,
            errors=dict(load.errors),
            failure=contestant.server.fate() if failed else "",
            generator_cpu_ns=[outcome.cpu_ns for outcome in outcomes],
            lateness_ns=max(outcome.lateness_ns for outcome in outcomes),
            server_cpu_ns=seen.server.total_ns,
            server_user_ns=seen.server.user_ns,
            server_system_ns=seen.server.system_ns,
            backend_cpu_ns=seen.backend.total_ns,
            cpus=seen.cpus,
            context_switches=seen.switches,
            tcp=seen.tcp,
            ports=ports,
            rss_bytes=after.resident_bytes,
            idle_rss_bytes=contestant.idle_rss_bytes,
            worker_accepted=told.accepted,
            worker_local=told.local,
            backend_rps=self.backend_rps,
        )
        return measured, load.latencies

    def _subject(self, contestant: Contestant) -> Subject:
        return Subject(
            server_pids=contestant.pids,
            backend_pids=self.backend.pids if self.backend else (),
            cpus=self.cell.cpus,
            server_net=self.testbed.server.proc_net,
        )

    def _check_backend(self) -> None:
        """Make sure that it is the proxy that does not answer. Raises BackendEnded."""
        if self.backend is not None and not self.backend.server.answers(BACKEND_ANSWERS_WITHIN_S):
            raise self._without_backend(f"the backend gives no correct reply in {BACKEND_ANSWERS_WITHIN_S:g} s")

    def _without_backend(self, what: str) -> BackendEnded:
        fate = ""
        if self.backend is not None:
            self.backend.server.wait_ended(_LAST_WORDS_WITHIN_S)
            fate = f" ({self.backend.server.fate()})"
        return BackendEnded(f"{what}{fate}; without it no proxy can be measured")

    def _ports(self) -> ClientPorts | None:
        if self.ephemeral_ports is None:
            return None
        return observe.client_ports(self.testbed.client.proc_net, self.ephemeral_ports)

    def _prepare(self, contestant: Contestant, turn: Turn) -> None:
        """Have kept connections open before the slice: what opening them costs the server is not part of it."""
        count = len(self.clients)
        shares = _shares(self.cell.concurrency, count)
        for i, (client, concurrency) in enumerate(zip(self.clients, shares, strict=True)):
            client.prepare(
                Job(
                    workload=self.cell.workload,
                    targets=[contestant.target],
                    concurrency=concurrency,
                    duration_s=turn.slice_s,
                    reply=contestant.reply,
                    timeout_s=REPLY_TIMEOUT_S,
                    rate_rps=None if turn.rate_rps is None else turn.rate_rps / count,
                    seed=zlib.crc32(f"{turn.seed} {self.cell.key} {turn.round} {i}".encode()),
                )
            )
        for client in self.clients:
            client.wait_prepared(REPLY_TIMEOUT_S + GENERATOR_GRACE_S)

    def _load(self, turn: Turn) -> list[Outcome]:
        for client in self.clients:
            client.begin()
        limit_s = turn.slice_s + REPLY_TIMEOUT_S + GENERATOR_GRACE_S
        return receive(self.clients, limit_s)


@dataclass(frozen=True, slots=True)
class _Load:
    """What all clients of a slice did together."""

    started_ns: int
    ended_ns: int
    requests: int
    window: Window
    errors: Counter[str]
    latencies: Latencies

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], turn: Turn, concurrency: int) -> "_Load":
        errors = Counter[str]()
        for outcome in outcomes:
            errors.update(outcome.errors)
        completed_ns = _joined([outcome.completed_ns for outcome in outcomes])
        started_ns = min(outcome.started_ns for outcome in outcomes)
        counted = [outcome.counted for outcome in outcomes if outcome.counted is not None]
        if counted:
            ended_ns = max(outcome.ended_ns for outcome in outcomes)
            requests = sum(each.requests for each in counted)
            of_rate = _window_of(counted)
            measured = np.ones(sum(len(outcome.latency_ns) for outcome in outcomes), np.bool_)
        else:
            # Not the generators' end: replies that never come are waited for, and nobody is busy meanwhile.
            ended_ns = max(started_ns + round(turn.slice_s * _NS_PER_S), int(completed_ns.max(initial=0)))
            requests = len(completed_ns)
            of_rate = window(completed_ns, started_ns, turn.slice_s, concurrency if turn.rate_rps is None else 1)
            # In an open loop the first requests are as good as any.
            measured = completed_ns > (of_rate.ramp_end_ns if turn.rate_rps is None else 0)
        times: dict[Kind, list[NDArray[np.uint64]]] = {
            "latency": [outcome.latency_ns for outcome in outcomes],
            "connect": [outcome.connect_ns for outcome in outcomes],
            "first-byte": [outcome.first_byte_ns for outcome in outcomes],
        }
        latencies = {}
        for kind, arrays in times.items():
            joined = _joined(arrays)
            if len(joined):
                latencies[kind] = LatencyHistogram()
                latencies[kind].record(joined[measured])
        return cls(started_ns, ended_ns, requests, of_rate, errors, latencies)


def rate_rps(trial: Slice) -> float:
    """Return what a slice had a second: without ramp and late replies, where that can be told."""
    return trial.window_rps or (trial.requests * _NS_PER_S / trial.wall_ns if trial.wall_ns else 0.0)


def unmeasured(cell: Cell, name: str, turn: Turn, why: str, failure: str) -> Slice:
    """Make the slice of a server that did not start, or has ended; ``failure`` says more of that."""
    return Slice(
        cell=cell.key,
        impl=name,
        round=turn.round,
        position=turn.position,
        block=turn.block,
        phase=turn.phase,
        slice_s=turn.slice_s,
        wall_ns=0,
        requests=0,
        window_requests=0,
        window_ns=0,
        errors={why: 1},
        failure=failure,
    )


def ephemeral_ports(testbed: Testbed) -> int | None:
    """Count the ports that connections from the client's host can have; None where that is the whole machine.

    There the server's own connections in TIME_WAIT would count as the client's.
    """
    if testbed.client.holder_pid is None:
        return None
    first, last = map(int, testbed.client.sysctl("net.ipv4.ip_local_port_range").split())
    return last - first + 1


def _window_of(counted: Sequence[Counted]) -> Window:
    """Put together what clients tell that keep no times: their rates add up."""
    requests = sum(each.requests for each in counted)
    rate = sum(each.requests / each.duration_ns for each in counted if each.duration_ns)
    return Window(requests, round(requests / rate) if rate else 0, 0)


def _shares(total: int, parts: int) -> list[int]:
    """Divide connections over generators as evenly as can be."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def _joined(arrays: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
