"""The load while perf records: each server has its turns at one rate for all, in an order of each round's own."""

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from harness import block, plan, processes
from harness.analysis.profile import Turn
from harness.block import Block, Servers
from harness.errors import BadInput
from harness.group_run import FIXED_RATE_SHARE
from harness.loadgen import Client, clients
from harness.measure import Contestant, LoadSide, rate_rps
from harness.measure import Turn as Load
from harness.profile.perf import Recording
from harness.results import RunFolder
from harness.schema import ENDED, Plan, PlannedCell, Schedule

TRIAL_S = 0.2
"""Of two trials the first warms a server up, and the second tells what it can do."""


def find_rate(servers: Servers, cell: PlannedCell) -> int:
    """Tell at which rate each server can be profiled: half of what the slowest does under full load.

    Raises ServerFailed, BackendEnded, GeneratorFailed, and BadInput when one answers nothing.
    """
    with ExitStack() as stack:
        up = stack.enter_context(block.start(servers, cell))
        for failure in up.failures.values():
            raise failure
        load = _load_side(servers, cell, up, _clients(stack, servers, cell))
        rates = {one.name: _trial(load, one) for one in up.contestants}
    for name, rate in rates.items():
        if not rate:
            raise BadInput(f"{name}: gives no reply under load, so there is nothing to profile; leave it out")
    return max(1, round(FIXED_RATE_SHARE * min(rates.values())))


def _trial(load: LoadSide, contestant: Contestant) -> float:
    for _warm_up_first in range(2):
        trial, _ = load.measure(contestant, Load(slice_s=TRIAL_S))
    return rate_rps(trial)


@dataclass(slots=True)
class Turns:
    """Gives the servers of a cell their turns, block by block; ``done`` grows."""

    servers: Servers
    cell: PlannedCell
    schedule: Schedule
    folder: RunFolder
    recording: Recording
    seed: int
    done: list[Turn] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    """Why others get no more turns."""

    def of(self, name: str) -> list[Turn]:
        """Return the turns of one implementation so far."""
        return [turn for turn in self.done if turn.impl == name]

    def take(self, tell: Callable[[int], None]) -> None:
        """Take all turns; ``tell`` is told of each round that is done.

        Raises ServerFailed for the backend, BackendEnded, GeneratorFailed, PerfFailed and BadInput.
        """
        with ExitStack() as stack:
            # Off the servers' CPUs, which are what is recorded.
            stack.enter_context(processes.staying_on(self.cell.generator_cpus))
            its_clients = _clients(stack, self.servers, self.cell)
            for number in range(self.schedule.blocks):
                rounds = [n for n in range(self.schedule.rounds) if self.schedule.block_of(n) == number]
                self._block(number, rounds, its_clients, tell)

    def _block(
        self, number: int, rounds: Sequence[int], its_clients: Sequence[Client], tell: Callable[[int], None]
    ) -> None:
        left = [one for one in self.servers.implementations if one.name not in self.gone]
        folder = self.servers.folder / f"block-{number}"
        with block.start(replace(self.servers, implementations=left, folder=folder), self.cell) as up:
            self.gone |= {name: failure.reason for name, failure in up.failures.items()}
            load = _load_side(self.servers, self.cell, up, its_clients)
            for one in up.contestants:
                load.measure(one, Load(slice_s=TRIAL_S, rate_rps=self.cell.rate_rps))
            for n in rounds:
                self._round(n, load, up, number)
                self.recording.check()
                tell(n + 1)

    def _round(self, number: int, load: LoadSide, up: Block, block_number: int) -> None:
        order = random.Random(f"{self.seed} {self.cell.key} {number}")
        by_name = {one.name: one for one in up.contestants}
        for position, name in enumerate(order.sample(sorted(by_name), len(by_name))):
            one = by_name[name]
            turn = Load(
                slice_s=self.schedule.slice_s,
                round=number,
                position=position,
                block=block_number,
                rate_rps=self.cell.rate_rps,
                seed=self.seed,
            )
            measured, _ = load.measure(one, turn)
            if ENDED & measured.errors.keys():
                self.gone[name] = measured.failure
                up.leave_out(name)
                self.folder.append_slice(measured)
                continue
            self.done.append(
                Turn(
                    impl=name,
                    round=number,
                    block=block_number,
                    started_ns=measured.started_ns,
                    ended_ns=measured.started_ns + measured.wall_ns,
                    requests=measured.requests,
                    offered=(self.cell.rate_rps or 0) * self.schedule.slice_s,
                    errors=sum(measured.errors.values()),
                    server_cpu_ns=measured.server_cpu_ns,
                    pids=frozenset(one.pids),
                )
            )
            self.folder.append_slice(measured)


def schedule(planned: Plan) -> Schedule:
    """Divide the rounds of a plan into blocks."""
    blocks = max(1, min(planned.blocks, planned.rounds // plan.FEWEST_ROUNDS_PER_BLOCK))
    return Schedule(slice_s=planned.slice_s, rounds=planned.rounds, blocks=blocks)


def _clients(stack: ExitStack, servers: Servers, cell: PlannedCell) -> Sequence[Client]:
    return clients.start(stack, "builtin", cell.generator_cpus, servers.testbed.client)


def _load_side(servers: Servers, cell: PlannedCell, up: Block, its_clients: Sequence[Client]) -> LoadSide:
    return LoadSide(cell=cell, clients=its_clients, backend=up.backend, testbed=servers.testbed)
