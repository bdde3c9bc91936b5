"""One slice: load on one server for some tens of milliseconds, with the kernel's counters read around it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.window import window
from harness.loadgen import Generator, Job, Outcome
from harness.observe import CpuTime, cpu_time
from harness.schema import NOT_STARTED, SERVER_ENDED, Cell, Slice

REPLY_TIMEOUT_S = 2.0
"""How long a slice waits at its end for replies that are still due."""
GENERATOR_GRACE_S = 10.0
"""How much longer a generator may take before it is given up."""

Latencies = NDArray[np.uint64]


class BackendEnded(Exception):  # noqa: N818  as GeneratorFailed: what happened
    """The backend has ended, so that it is no contestant's fault when nothing comes back."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that takes part in a cell, up and answering."""

    name: str
    target: tuple[str, int]
    reply: bytes
    """What it answers to a request of the cell's workload, byte for byte."""
    pids: Sequence[int]


@dataclass(frozen=True, slots=True)
class LoadSide:
    """The generators of a cell, and the processes of its backend."""

    cell: Cell
    generators: Sequence[Generator]
    backend_pids: Sequence[int]

    def measure(self, contestant: Contestant, slice_s: float, number: int, position: int) -> tuple[Slice, Latencies]:
        """Load one server for one slice; the latencies are those of the requests that ended after the ramp, in ns.

        Where the server has ended the slice says so with the error SERVER_ENDED, and with no requests. Raises
        GeneratorFailed and BackendEnded.
        """
        self._prepare(contestant, slice_s)
        before = self._cpu_times(contestant)
        outcomes = self._load(slice_s)
        after = self._cpu_times(contestant)
        for generator in self.generators:
            generator.finish()
        if before and after:
            server, backend = (later - earlier for later, earlier in zip(after, before, strict=True))
        else:
            outcomes, server, backend = [], CpuTime(0, 0, 0), CpuTime(0, 0, 0)
        errors = Counter[str]({} if outcomes else {SERVER_ENDED: 1})
        for outcome in outcomes:
            errors.update(outcome.errors)
        completed_ns = _joined([outcome.completed_ns for outcome in outcomes])
        latency_ns = _joined([outcome.latency_ns for outcome in outcomes])
        started_ns = min((outcome.started_ns for outcome in outcomes), default=0)
        # Not the generators' end: replies that never come are waited for, and nobody is busy meanwhile.
        ended_ns = max(started_ns + round(slice_s * 1e9), int(completed_ns.max(initial=0))) if outcomes else started_ns
        counted = window(completed_ns, started_ns, slice_s, self.cell.concurrency)
        measured = Slice(
            cell=self.cell.key,
            impl=contestant.name,
            round=number,
            position=position,
            slice_s=slice_s,
            wall_ns=ended_ns - started_ns,
            requests=len(completed_ns),
            window_requests=counted.requests,
            window_ns=counted.duration_ns,
            errors=dict(errors),
            generator_cpu_ns=[outcome.cpu_ns for outcome in outcomes],
            server_cpu_ns=server.total_ns,
            server_user_ns=server.user_ns,
            server_system_ns=server.system_ns,
            backend_cpu_ns=backend.total_ns,
        )
        return measured, latency_ns[completed_ns > counted.ramp_end_ns]

    def _prepare(self, contestant: Contestant, slice_s: float) -> None:
        """Have kept connections open before the slice: what opening them costs the server is not part of it."""
        shares = _shares(self.cell.concurrency, len(self.generators))
        for generator, concurrency in zip(self.generators, shares, strict=True):
            generator.prepare(
                Job(
                    workload=self.cell.workload,
                    targets=[contestant.target],
                    concurrency=concurrency,
                    duration_s=slice_s,
                    reply=contestant.reply,
                    timeout_s=REPLY_TIMEOUT_S,
                )
            )
        for generator in self.generators:
            generator.wait_prepared(REPLY_TIMEOUT_S + GENERATOR_GRACE_S)

    def _cpu_times(self, contestant: Contestant) -> tuple[CpuTime, CpuTime] | None:
        """Return the CPU time of the server and of the backend so far; None when the server has ended.

        Raises BackendEnded.
        """
        try:
            backend = cpu_time(self.backend_pids)
        except ProcessLookupError:
            raise BackendEnded("the backend's processes have ended; without it no proxy can be measured") from None
        try:
            return cpu_time(contestant.pids), backend
        except ProcessLookupError:
            return None

    def _load(self, slice_s: float) -> list[Outcome]:
        for generator in self.generators:
            generator.begin()
        limit_s = slice_s + REPLY_TIMEOUT_S + GENERATOR_GRACE_S
        return [generator.receive(limit_s) for generator in self.generators]


def not_started(cell: Cell, name: str, slice_s: float) -> Slice:
    """Make the slice that says that a server did not start."""
    return Slice(
        cell=cell.key,
        impl=name,
        round=0,
        position=0,
        slice_s=slice_s,
        wall_ns=0,
        requests=0,
        window_requests=0,
        window_ns=0,
        errors={NOT_STARTED: 1},
    )


def _shares(total: int, parts: int) -> list[int]:
    """Divide connections over generators as evenly as can be."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def _joined(arrays: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
