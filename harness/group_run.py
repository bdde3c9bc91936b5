"""A group of cells, mostly of one: servers up, load in slices, everything down again, block by block.

All servers of a block run at once, idle ones cost nothing, and the load moves between them in slices of some
tens of milliseconds, in a new random order each round. So whatever speeds the machine up or slows it down meets
all of them alike (DESIGN.md, "Why slices"). Cells that are to be compared with each other are measured like that, too.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import msgspec

from harness import block, plan, processes
from harness.analysis.comparison import is_within
from harness.block import Block, Servers
from harness.loadgen import Client, clients
from harness.measure import Contestant, LoadSide, Turn, ephemeral_ports, rate_rps, unmeasured
from harness.registry import Implementation
from harness.results import RunFolder
from harness.schema import ENDED, IDLE_LOST, NOT_STARTED, Cell, Phase, Plan, PlannedCell, Schedule, Slice
from harness.schema import Client as ClientName
from harness.testbed import Host

REQUESTS_PER_SLICE = 400
"""A slice is made long enough for about so many replies of the slowest server, and for REPLIES_PER_CONNECTION."""
REPLIES_PER_CONNECTION = 8
"""A server that answers all its connections in one bunch needs several bunches after the ramp to have a rate."""
LONGEST_SLICE_S = 1.0
TRIAL_S = 0.1
"""The slice before the first round of a block, which warms a server up, tells how fast it is and is thrown away."""
GIVEN_UP_AFTER_SLICES = 3
"""So many slices of errors alone, each with its wait for late replies, and a server gets no more in the cell."""
FIXED_RATE_SHARE = 0.5
"""Of what the slowest server can do: well below saturation a request's CPU time is steadiest."""

StartClients = Callable[[ExitStack, ClientName, Sequence[int], Host], list[Client]]
"""Starts what makes the load on some CPUs of a host; it ends with the stack."""


class Progress(Protocol):
    """What a run tells while it goes on."""

    def group_begins(self, cells: Sequence[Cell], schedule: Schedule) -> None:
        """Tell that cells that are measured together begin, or go on."""

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""

    def failed(self, what: str) -> None:
        """Tell that a server did not start, or gets no more slices."""


@dataclass(frozen=True, slots=True)
class _Up:
    """A cell whose servers are up."""

    cell: PlannedCell
    block: Block
    loads: Mapping[Phase, LoadSide]


@dataclass(frozen=True, slots=True)
class _Trial:
    """The first slice of a server in a block."""

    cell: PlannedCell
    piece: Slice

    @property
    def wanted_s(self) -> float:
        """How long a slice must be for requests enough; 0 where that cannot be told."""
        rates_rps = [rate for rate in (self.rps, self.cell.rate_rps) if rate]
        replies = REQUESTS_PER_SLICE
        if self.cell.rate_rps is None:
            replies = max(replies, REPLIES_PER_CONNECTION * self.cell.concurrency)
        return replies / min(rates_rps) if rates_rps else 0.0

    @property
    def rps(self) -> float:
        """What it served a second; 0 where it gave no reply."""
        return rate_rps(self.piece) if self.piece.requests else 0.0


class GroupRun:
    """Measures the cells of a group, or what an earlier run has left of them."""

    def __init__(
        self,
        planned: Plan,
        cells: Sequence[PlannedCell],
        share_s: float,
        servers: Servers,
        folder: RunFolder,
        progress: Progress,
        slices: list[Slice],
        start_clients: StartClients = clients.start,
    ) -> None:
        """``cells`` differ in nothing but workers and connections (``Plan.groups``).

        ``share_s`` is the group's part of the budget; ``slices`` are those that it has already, and grow.
        """
        self._plan = planned
        self._cells = cells
        self._share_s = share_s
        self._servers = servers
        self._folder = folder
        self._progress = progress
        self._slices = slices
        self._start_clients = start_clients
        self._schedule = next((cell.schedule for cell in cells if cell.schedule is not None), None)
        self._steered: str | None = None
        self._done = {(piece.cell, piece.round, piece.phase, piece.impl) for piece in slices}
        turns = {(piece.cell, piece.impl, piece.phase) for piece in slices}
        self._given_up = {(cell, name) for cell, name, phase in turns if _is_given_up(slices, cell, name, phase)}

    def measure(self) -> None:
        """Measure block after block, as long as any server can be.

        Raises ServerFailed when the backend does not start, BackendEnded and GeneratorFailed.
        """
        if self._next_round() is None:
            return
        with ExitStack() as stack:
            cpus = sorted({cpu for cell in self._cells for cpu in cell.generator_cpus})
            # Off the servers' CPUs: on the generators' the harness wakes up only when these are done.
            stack.enter_context(processes.staying_on(cpus))
            usual = self._clients(stack, self._plan.client, cpus)
            fixed_rate = usual if self._plan.client == "builtin" else self._clients(stack, "builtin", cpus)
            by_load: dict[Phase, Mapping[int, Client]] = {
                "load": usual,
                "without-idle": usual,
                "fixed-rate": fixed_rate,
            }
            while (number := self._next_round()) is not None and not self._is_precise(number):
                self._measure_block(by_load)

    def _clients(self, stack: ExitStack, client: ClientName, cpus: Sequence[int]) -> Mapping[int, Client]:
        """Start what makes the load, one on each CPU; cells that have a CPU in common have it in common, too."""
        host = self._servers.testbed.client
        return dict(zip(cpus, self._start_clients(stack, client, cpus, host), strict=True))

    def _next_round(self) -> int | None:
        """Return the first round in which a turn is missing; None when all are done, or nobody is left."""
        left = [(cell.key, one.name) for cell in self._cells for one in self._active(cell)]
        if not left:
            return None
        if self._schedule is None:
            return 0
        for number in range(self._schedule.rounds):
            for phase in self._phases(number):
                if any((cell, number, phase, name) not in self._done for cell, name in left):
                    return number
        return None

    def _taking_part(self, cell: PlannedCell) -> list[Implementation]:
        return [one for one in self._servers.implementations if cell.is_for(one)]

    def _active(self, cell: PlannedCell) -> list[Implementation]:
        return [one for one in self._taking_part(cell) if (cell.key, one.name) not in self._given_up]

    def _measure_block(self, by_load: Mapping[Phase, Mapping[int, Client]]) -> None:
        number = max((piece.block + 1 for piece in self._slices), default=0)
        with ExitStack() as stack:
            several = [self._start(stack, cell, by_load, number) for cell in self._cells if self._active(cell)]
            trials = [trial for up in several for trial in self._trials(up)]
            if not trials:
                return
            contestants = sum(len(up.block.contestants) for up in several)
            schedule = self._schedule = self._schedule or self._decided(trials, contestants)
            self._folder.write_schedule(self._cells, schedule)
            first = self._next_round() or 0
            self._progress.group_begins(self._cells, schedule)
            for round_number in range(first, schedule.rounds):
                if schedule.block_of(round_number) != schedule.block_of(first):
                    return
                for phase in self._phases(round_number):
                    turn = self._turn(round_number, phase, number, schedule)
                    self._measure_round({up.cell.key: up for up in several}, turn)

    def _start(
        self, stack: ExitStack, cell: PlannedCell, by_load: Mapping[Phase, Mapping[int, Client]], block_number: int
    ) -> _Up:
        """Start the servers of a cell; those that cannot be started are given up there."""
        self._steer(cell)
        folder = self._servers.folder / cell.key.replace("/", "-") / f"block-{block_number}"
        servers = replace(self._servers, implementations=self._active(cell), folder=folder)
        up = stack.enter_context(block.start(servers, cell))
        for name, failure in up.failures.items():
            self._progress.failed(str(failure))
            self._given_up.add((cell.key, name))
            self._keep(unmeasured(cell, name, Turn(slice_s=self._plan.slice_s), NOT_STARTED, failure.reason))
        return _Up(cell, up, self._loads(cell, up, by_load))

    def _loads(
        self, cell: PlannedCell, up: Block, by_load: Mapping[Phase, Mapping[int, Client]]
    ) -> Mapping[Phase, LoadSide]:
        loads: dict[Phase, LoadSide] = {}
        for phase, on_cpu in by_load.items():
            loads[phase] = LoadSide(
                cell=cell,
                clients=[on_cpu[cpu] for cpu in cell.generator_cpus],
                backend=up.backend,
                testbed=self._servers.testbed,
                ephemeral_ports=ephemeral_ports(self._servers.testbed),
            )
        if up.backend is not None:
            own_rps = block.own_rate_rps(loads["fixed-rate"], up.backend, TRIAL_S)
            loads = {phase: replace(load, backend_rps=own_rps) for phase, load in loads.items()}
        return loads

    def _steer(self, cell: PlannedCell) -> None:
        """Have packets received on a cell's CPUs from now on."""
        if cell.key != self._steered:
            self._servers.testbed.steer(cell)
            self._steered = cell.key

    def _trials(self, up: _Up) -> list[_Trial]:
        self._steer(up.cell)
        turn = Turn(slice_s=max(TRIAL_S, self._plan.slice_s), rate_rps=up.cell.rate_rps)
        contestants = (*up.block.contestants, *up.block.without_idle)
        return [_Trial(up.cell, up.loads["load"].measure(one, turn)[0]) for one in contestants]

    def _decided(self, trials: Sequence[_Trial], contestants: int) -> Schedule:
        """Choose a length of slices that gives the slowest server requests enough, the same for all.

        In short slices of a slow server ramp and drain would be most of it (DESIGN.md, "Why slices").
        """
        wanted_s = max((trial.wanted_s for trial in trials), default=0.0)
        shortest_s = self._plan.slice_s
        slice_s = min(max(shortest_s, wanted_s), max(LONGEST_SLICE_S, shortest_s))
        fixed_rate_rps = None
        rates_rps = [trial.rps for trial in trials if trial.rps]
        if rates_rps and plan.has_fixed_rates(self._cells[0], interleaved=self._plan.interleaved):
            fixed_rate_rps = max(1, round(FIXED_RATE_SHARE * min(rates_rps)))
        return plan.schedule(self._plan, self._cells[0], self._share_s, contestants, round(slice_s, 3), fixed_rate_rps)

    def _phases(self, number: int) -> tuple[Phase, ...]:
        """List the phases of a round; what is compared with each other is not always in the same order."""
        phases: list[Phase] = ["load", "without-idle"] if self._cells[0].idle else ["load"]
        if plan.is_reversed(number):
            phases.reverse()
        if self._schedule is not None and self._schedule.fixed_rate_rps is not None and plan.has_fixed_rate(number):
            phases.append("fixed-rate")
        return tuple(phases)

    def _turn(self, number: int, phase: Phase, block_number: int, schedule: Schedule) -> Turn:
        rate_rps = schedule.fixed_rate_rps if phase == "fixed-rate" else self._cells[0].rate_rps
        return Turn(
            slice_s=schedule.slice_s,
            round=number,
            block=block_number,
            phase=phase,
            rate_rps=rate_rps,
            seed=self._plan.seed,
        )

    def _measure_round(self, several: Mapping[str, _Up], turn: Turn) -> None:
        """Give each its turn, in an order of the round's own; those that have had it are left out."""
        order = random.Random(f"{self._plan.seed} {self._cells[0].key} {turn.round} {turn.phase}")
        turns = [(cell, name) for cell in self._cells for name in sorted(one.name for one in self._taking_part(cell))]
        for position, (cell, name) in enumerate(order.sample(turns, len(turns))):
            up = several.get(cell.key)
            if up is None or (cell.key, turn.round, turn.phase, name) in self._done:
                continue
            if (contestant := up.block.find(name, turn.phase)) is None:
                continue
            self._steer(cell)
            self._measure_slice(up.loads[turn.phase], contestant, replace(turn, position=position))
            if _is_given_up(self._slices, cell.key, name, turn.phase):
                self._given_up.add((cell.key, name))
                up.block.leave_out(name)
                failure = self._slices[-1].failure
                self._progress.failed(f"{name} gets no more slices in {cell.key}: {failure}")

    def _measure_slice(self, load: LoadSide, contestant: Contestant, turn: Turn) -> None:
        measured, latencies = load.measure(contestant, turn)
        # Not in a trial, which is thrown away: what was lost there is told with the first slice.
        if not ENDED & measured.errors.keys() and (lost := contestant.lost_idle()):
            measured = msgspec.structs.replace(measured, errors={**measured.errors, IDLE_LOST: lost})
        self._keep(measured)
        if turn.phase == "load":
            key = (measured.cell, measured.impl)
            self._folder.append_histograms({(*key, kind): histogram for kind, histogram in latencies.items()})
        self._progress.slice_ends(measured)

    def _keep(self, measured: Slice) -> None:
        self._folder.append_slice(measured)
        self._slices.append(measured)
        self._done.add((measured.cell, measured.round, measured.phase, measured.impl))

    def _is_precise(self, number: int) -> bool:
        """Tell before a round whether every interval is as narrow as it was asked to be."""
        schedule, precision = self._schedule, self._plan.precision
        if schedule is None or precision is None or not plan.looks_at_precision(schedule.block_of(number)):
            return False
        return all(is_within(self._plan, cell, self._slices, precision) for cell in self._cells)


def _is_given_up(slices: Sequence[Slice], cell: str, name: str, phase: Phase) -> bool:
    """Tell whether a server gets no more slices in a cell: it has ended, did not start, or was silent for too long.

    That is in its last slices, or in the last of one phase: who is silent beside idle connections may well answer
    without them.
    """
    own = (piece for piece in reversed(slices) if (piece.cell, piece.impl) == (cell, name))
    of_phase = (piece for piece in reversed(slices) if (piece.cell, piece.impl, piece.phase) == (cell, name, phase))
    return _is_silent(own) or _is_silent(of_phase)


def _is_silent(newest_first: Iterable[Slice]) -> bool:
    last = list(islice(newest_first, GIVEN_UP_AFTER_SLICES))
    if any(ENDED & piece.errors.keys() for piece in last):
        return True
    return len(last) == GIVEN_UP_AFTER_SLICES and all(piece.errors and not piece.requests for piece in last)
