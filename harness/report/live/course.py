"""How far a run has come, told from its plan and from the slices as they come in."""

from collections.abc import Iterable
from typing import Literal

from harness.schema import Cell, Plan, PlannedCell, Schedule, Slice

State = Literal["done", "now", "to come"]
_ROUNDS_FOR_A_PACE = 2
_LONGEST_PAUSE_NS = 60 * 10**9
"""After a longer one between two slices the run had been interrupted, and somebody has gone on with it."""


class Course:
    """Counts the slices of a run whose groups of cells are measured in the order of the plan."""

    def __init__(self, plan: Plan) -> None:
        self.newest: Slice | None = None
        """The slice that ended last."""
        self._groups = [group for group in plan.groups if any(_is_measured(plan, cell) for cell in group)]
        self._skipped = {cell.key for group in plan.groups if group not in self._groups for cell in group}
        self._group_of = {cell.key: number for number, group in enumerate(self._groups) for cell in group}
        self._turns = [
            sum(one.conformant for cell in group for one in plan.taking_part(cell)) for group in self._groups
        ]
        self._schedules: dict[str, Schedule] = {cell.key: cell.schedule for cell in plan.cells if cell.schedule}
        self._now = -1
        self._round: tuple[int, str] = (-1, "")
        self._in_round = 0
        self._share_of_group = 0.0
        self._since = _Since()

    def learn(self, plan: Plan) -> None:
        """Take to know how cells are measured that have begun since."""
        self._schedules.update({cell.key: cell.schedule for cell in plan.cells if cell.schedule})

    def schedule(self, cells: Iterable[Cell], schedule: Schedule) -> None:
        """Take to know how cells are measured that are now begun, or gone on with."""
        for cell in cells:
            self._schedules[cell.key] = schedule
            self._enter(cell.key)

    def take(self, piece: Slice) -> None:
        """Count a slice that ended."""
        self.newest = piece
        self._enter(piece.cell)
        if (piece.round, piece.phase) != self._round:
            self._round, self._in_round = (piece.round, piece.phase), 0
        self._in_round += 1
        if (schedule := self._schedules.get(piece.cell)) is not None and self._now >= 0:
            within = min(1.0, self._in_round / max(1, self._turns[self._now]))
            if piece.phase != "load":
                within = 1.0
            self._share_of_group = max(self._share_of_group, min(1.0, (piece.round + within) / schedule.rounds))
        self._since.take(piece, self.done_share)

    @property
    def group(self) -> tuple[PlannedCell, ...]:
        """The cells that are measured now, together; none before the first."""
        return self._groups[self._now] if self._now >= 0 else ()

    @property
    def schedule_now(self) -> Schedule | None:
        """How they are measured; None where that is not known yet."""
        return self._schedules.get(self.group[0].key) if self.group else None

    @property
    def done_share(self) -> float:
        """How much of the plan is measured, from 0 to 1; every cell counts as much as any other."""
        sizes = list(map(len, self._groups))
        if self._now < 0 or not sizes:
            return 0.0
        return (sum(sizes[: self._now]) + self._share_of_group * sizes[self._now]) / sum(sizes)

    @property
    def left_s(self) -> float | None:
        """About how much longer the run takes at the pace that it has had; None before it has one."""
        return self._since.left_s(self.done_share)

    def state(self, cell: Cell) -> State:
        """Tell whether a cell is measured, being measured, or to come; where nobody is to be measured it is done."""
        if cell.key in self._skipped:
            return "done"
        number = self._group_of[cell.key]
        return "done" if number < self._now else "now" if number == self._now else "to come"

    def _enter(self, key: str) -> None:
        number = self._group_of.get(key, self._now)
        if number != self._now:
            self._now, self._share_of_group, self._round = number, 0.0, (-1, "")


class _Since:
    """When this run was begun, or gone on with, and how far it was then; by the clock of the machine it runs on."""

    def __init__(self) -> None:
        self._began_ns = self._last_ns = 0
        self._share_before = 0.0
        self._round: tuple[str, int] = ("", -1)
        self._rounds = 0

    def take(self, piece: Slice, share: float) -> None:
        """Note when a slice ended, and how much was done then."""
        if not piece.started_ns:
            return
        pause_ns = piece.started_ns - self._last_ns
        if not self._last_ns or not 0 <= pause_ns <= _LONGEST_PAUSE_NS:
            self._began_ns, self._share_before = piece.started_ns, share
            self._rounds = 0
        if (piece.cell, piece.round) != self._round:
            self._round = (piece.cell, piece.round)
            self._rounds += 1
        self._last_ns = piece.started_ns + piece.wall_ns

    def left_s(self, share: float) -> float | None:
        """Tell how long the rest takes; None before two rounds are over."""
        done = share - self._share_before
        if done <= 0 or self._rounds <= _ROUNDS_FOR_A_PACE:
            return None
        return (self._last_ns - self._began_ns) / 1e9 * (1.0 - share) / done


def _is_measured(plan: Plan, cell: Cell) -> bool:
    """Tell whether anybody is measured there; before conformance is known all count."""
    return not plan.conformance_checked or any(one.conformant for one in plan.taking_part(cell))
