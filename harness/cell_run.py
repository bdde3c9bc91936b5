"""One cell: servers up, load in slices, everything down again, block by block.

All servers of a block run at once, idle ones cost nothing, and the load moves between them in slices of some
tens of milliseconds, in a new random order each round. So whatever speeds the machine up or slows it down meets
all of them alike (DESIGN.md, "Why slices").
"""

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
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

    def cell_begins(self, cell: Cell, schedule: Schedule, implementations: int) -> None:
        """Tell that a cell begins, or goes on."""

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""

    def failed(self, what: str) -> None:
        """Tell that a server did not start, or gets no more slices."""


class CellRun:
    """Measures one cell, or what an earlier run has left of it."""

    def __init__(
        self,
        planned: Plan,
        cell: PlannedCell,
        share_s: float,
        servers: Servers,
        folder: RunFolder,
        progress: Progress,
        slices: list[Slice],
        start_clients: StartClients = clients.start,
    ) -> None:
        """``share_s`` is the cell's part of the budget; ``slices`` are those that it has already, and grow."""
        self._plan = planned
        self._cell = cell
        self._share_s = share_s
        self._servers = servers
        self._folder = folder
        self._progress = progress
        self._slices = slices
        self._start_clients = start_clients
        self._schedule = cell.schedule
        self._done = {(piece.round, piece.phase, piece.impl) for piece in slices}
        turns = {(piece.impl, piece.phase) for piece in slices}
        self._given_up = {name for name, phase in turns if _is_given_up(slices, name, phase)}

    def measure(self) -> Schedule | None:
        """Measure block after block; return the schedule, None when no server could be measured.

        Raises ServerFailed when the backend does not start, BackendEnded and GeneratorFailed.
        """
        if self._next_round() is None:
            return self._schedule
        testbed = self._servers.testbed
        testbed.steer(self._cell)
        with ExitStack() as stack:
            # Off the servers' CPUs: on the generators' the harness wakes up only when these are done.
            stack.enter_context(processes.staying_on(self._cell.generator_cpus))
            by_load: dict[Phase, Sequence[Client]] = {}
            by_load["load"] = self._start_clients(stack, self._plan.client, self._cell.generator_cpus, testbed.client)
            by_load["without-idle"] = by_load["load"]
            by_load["fixed-rate"] = (
                by_load["load"]
                if self._plan.client == "builtin"
                else self._start_clients(stack, "builtin", self._cell.generator_cpus, testbed.client)
            )
            while (number := self._next_round()) is not None and not self._is_precise(number):
                self._measure_block(by_load)
        return self._schedule

    def _next_round(self) -> int | None:
        """Return the first round in which a turn is missing; None when all are done, or nobody is left."""
        left = [one.name for one in self._active()]
        if not left:
            return None
        if self._schedule is None:
            return 0
        for number in range(self._schedule.rounds):
            for phase in self._phases(number):
                if any((number, phase, name) not in self._done for name in left):
                    return number
        return None

    def _active(self) -> list[Implementation]:
        return [one for one in self._servers.implementations if one.name not in self._given_up]

    def _measure_block(self, by_load: dict[Phase, Sequence[Client]]) -> None:
        block_number = max((piece.block + 1 for piece in self._slices), default=0)
        folder = self._servers.folder / self._cell.key.replace("/", "-") / f"block-{block_number}"
        servers = replace(self._servers, implementations=self._active(), folder=folder)
        with block.start(servers, self._cell) as up:
            for name, failure in up.failures.items():
                self._progress.failed(str(failure))
                turn = Turn(slice_s=self._plan.slice_s)
                self._give_up(name, unmeasured(self._cell, name, turn, NOT_STARTED, failure.reason))
            loads = self._loads(up, by_load)
            trials = [self._trial(loads["load"], one) for one in (*up.contestants, *up.without_idle)]
            if not up.contestants:
                return
            schedule = self._schedule = self._schedule or self._decided(trials, len(up.contestants))
            self._folder.write_schedule(self._cell, schedule)
            first = self._next_round() or 0
            self._progress.cell_begins(self._cell, schedule, len(up.contestants))
            for number in range(first, schedule.rounds):
                if schedule.block_of(number) != schedule.block_of(first):
                    return
                for phase in self._phases(number):
                    turn = self._turn(number, phase, block_number, schedule)
                    self._measure_round(loads[phase], up, turn)

    def _loads(self, up: Block, by_load: dict[Phase, Sequence[Client]]) -> dict[Phase, LoadSide]:
        loads: dict[Phase, LoadSide] = {}
        for phase, its_clients in by_load.items():
            load = LoadSide(
                cell=self._cell,
                clients=its_clients,
                backend=up.backend,
                testbed=self._servers.testbed,
                ephemeral_ports=ephemeral_ports(self._servers.testbed),
            )
            loads[phase] = load
        if up.backend is not None:
            own_rps = block.own_rate_rps(loads["fixed-rate"], up.backend, TRIAL_S)
            loads = {phase: replace(load, backend_rps=own_rps) for phase, load in loads.items()}
        return loads

    def _trial(self, load: LoadSide, contestant: Contestant) -> Slice:
        slice_s = max(TRIAL_S, self._plan.slice_s)
        return load.measure(contestant, Turn(slice_s=slice_s, rate_rps=self._cell.rate_rps))[0]

    def _decided(self, trials: Sequence[Slice], contestants: int) -> Schedule:
        """Choose a length of slices that gives the slowest server requests enough, the same for all.

        In short slices of a slow server ramp and drain would be most of it (DESIGN.md, "Why slices").
        """
        rates_rps = [rate_rps(trial) for trial in trials if trial.requests]
        offered_rps = self._cell.rate_rps
        slowest_rps = min([*rates_rps, *([] if offered_rps is None else [offered_rps])], default=None)
        slice_s = self._plan.slice_s
        if slowest_rps is not None:
            wanted = REQUESTS_PER_SLICE
            if offered_rps is None:
                wanted = max(wanted, REPLIES_PER_CONNECTION * self._cell.concurrency)
            slice_s = min(max(slice_s, wanted / slowest_rps), max(LONGEST_SLICE_S, slice_s))
        fixed = max(1, round(FIXED_RATE_SHARE * slowest_rps)) if slowest_rps and offered_rps is None else None
        return plan.schedule(self._plan, self._cell, self._share_s, contestants, round(slice_s, 3), fixed)

    def _phases(self, number: int) -> tuple[Phase, ...]:
        """List the phases of a round; what is compared with each other is not always in the same order."""
        phases: list[Phase] = ["load", "without-idle"] if self._cell.idle else ["load"]
        if plan.is_reversed(number):
            phases.reverse()
        if self._schedule is not None and self._schedule.fixed_rate_rps is not None and plan.has_fixed_rate(number):
            phases.append("fixed-rate")
        return tuple(phases)

    def _turn(self, number: int, phase: Phase, block_number: int, schedule: Schedule) -> Turn:
        rate_rps = schedule.fixed_rate_rps if phase == "fixed-rate" else self._cell.rate_rps
        return Turn(
            slice_s=schedule.slice_s,
            round=number,
            block=block_number,
            phase=phase,
            rate_rps=rate_rps,
            seed=self._plan.seed,
        )

    def _measure_round(self, load: LoadSide, up: Block, turn: Turn) -> None:
        """Give each its turn, in an order of the round's own; those that have had it are left out."""
        order = random.Random(f"{self._plan.seed} {self._cell.key} {turn.round} {turn.phase}")
        by_name = {contestant.name: contestant for contestant in up.taking_part(turn.phase)}
        names = sorted(one.name for one in self._servers.implementations)
        for position, name in enumerate(order.sample(names, len(names))):
            if name in by_name and (turn.round, turn.phase, name) not in self._done:
                self._measure_slice(load, by_name[name], replace(turn, position=position))
                if _is_given_up(self._slices, name, turn.phase):
                    self._given_up.add(name)
                    up.leave_out(name)
                    failure = self._slices[-1].failure
                    self._progress.failed(f"{name} gets no more slices in {self._cell.key}: {failure}")

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
        self._done.add((measured.round, measured.phase, measured.impl))

    def _give_up(self, name: str, last: Slice) -> None:
        self._given_up.add(name)
        self._keep(last)

    def _is_precise(self, number: int) -> bool:
        """Tell before a round whether every interval is as narrow as it was asked to be."""
        schedule, precision = self._schedule, self._plan.precision
        if schedule is None or precision is None or not plan.looks_at_precision(schedule.block_of(number)):
            return False
        return is_within(self._plan, self._cell, self._slices, precision)


def _is_given_up(slices: Sequence[Slice], name: str, phase: Phase) -> bool:
    """Tell whether a server gets no more slices: it has ended, did not start, or was silent for too long.

    That is in its last slices, or in the last of one phase: who is silent beside idle connections may well answer
    without them.
    """
    own = (piece for piece in reversed(slices) if piece.impl == name)
    of_phase = (piece for piece in reversed(slices) if (piece.impl, piece.phase) == (name, phase))
    return _is_silent(own) or _is_silent(of_phase)


def _is_silent(newest_first: Iterable[Slice]) -> bool:
    last = list(islice(newest_first, GIVEN_UP_AFTER_SLICES))
    if any(ENDED & piece.errors.keys() for piece in last):
        return True
    return len(last) == GIVEN_UP_AFTER_SLICES and all(piece.errors and not piece.requests for piece in last)
