"""How far a run has come: the whole screen of a terminal, or a line now and then elsewhere."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions
from rich.live import Live

from harness.analysis import stats
from harness.report import figures
from harness.report.live import leader
from harness.report.live.course import Course
from harness.report.live.screen import Screen, time_left
from harness.report.live.sparing import Sparing
from harness.report.live.standings import Standings
from harness.report.live.terminals import has_screen
from harness.schema import Cell, Plan, Schedule, Slice

LINE_EVERY_S = 10.0


class RunProgress:
    """Shows a run from its plan and its slices; a context manager.

    It works when it is told something, between slices; so nothing of it runs while a server is under load. A screen is
    drawn on the terminal's other page, and what was there before comes back whatever ends the run.
    """

    def __init__(self, console: Console, plan: Plan, *, title: str = "", done: Iterable[Slice] = ()) -> None:
        """``title`` is what the run is called, ``done`` are slices that earlier runs into its folder have left."""
        self._console = console
        self._title = title
        self._plan = plan
        self._course, self._standings = Course(plan), Standings(plan)
        self._looking, self._drawing = Sparing(), Sparing()
        self._is_looked_at = True
        self._messages: list[str] = []
        self._doing = _before_slices(plan)
        self._what = ""
        self._told_s = time.monotonic()
        self._live: Live | None = None
        self._is_drawn = True
        self._drawn_at: ConsoleDimensions | None = None
        for piece in done:
            self._count(piece)

    def __enter__(self) -> Self:
        if not self._console.quiet:
            stats.get_ready()
            self._standings.look()
        if has_screen(self._console):
            # Without a thread of its own; and what others print goes where it always does.
            live = Live(
                self._screen(),
                console=self._console,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            live.start(refresh=True)  # which gives the terminal back where it fails
            self._live = live
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            for message in self._messages:
                figures.warn(self._console, message)

    def plan_is(self, plan: Plan) -> None:
        """Take a plan that was written anew, as it is when conformance is known, and when cells begin."""
        if plan.conformance_checked != self._plan.conformance_checked:
            self._course, self._standings = Course(plan), Standings(plan)
            self._doing = _before_slices(plan)
            if self._live is None:
                self._tell(self._doing)
        self._plan = plan
        self._course.learn(plan)

    def group_begins(self, cells: Sequence[Cell], schedule: Schedule) -> None:
        """Tell that cells that are measured together begin; it is told again with each block."""
        self._course.schedule(cells, schedule)
        first, *_, last = [cells[0].key, *(cell.key for cell in cells)]
        which = first if first == last else f"{first} to {last}"
        what = f"{which}: {schedule.rounds} rounds of {schedule.slice_s * 1000:.0f} ms each"
        if schedule.blocks > 1:
            what += f" in {schedule.blocks} blocks"
        if what == self._what:
            return
        self._what = self._doing = what
        if self._live is not None:
            self._draw()
        else:
            self._tell(f"{self._what}{self._left()}")

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""
        self._take(measured)
        self.pass_time()
        if self._live is None and not self._console.quiet and time.monotonic() - self._told_s >= LINE_EVERY_S:
            self.refresh()
            self._tell(f"{self._place()}{self._what}, {measured.round + 1} done{self._left()}{self._standing()}")

    def pass_time(self) -> None:
        """Draw a screen again if that is due, or if it has another size now, although nothing new is told."""
        if self._live is None:
            return
        if not self._is_looked_at and self._looking.is_due:
            self.refresh()
        elif (not self._is_drawn and self._drawing.is_due) or self._console.size != self._drawn_at:
            self._draw()

    def refresh(self) -> None:
        """Work out where the cells stand, and draw that where there is a screen."""
        with self._looking.working():
            self._standings.look()
        self._is_looked_at = True
        self._draw()

    def failed(self, what: str) -> None:
        """Tell that a server did not start, or gets no more slices."""
        self._messages.append(what)
        if self._live is None:
            figures.warn(self._console, figures.printable(what))

    def _count(self, piece: Slice) -> None:
        self._course.take(piece)
        self._standings.take(piece)

    def _take(self, piece: Slice) -> None:
        self._count(piece)
        self._is_looked_at = self._is_drawn = False
        self._doing = f"{piece.cell}, round {piece.round + 1}"
        if (schedule := self._course.schedule_now) is not None:
            self._doing += f" of {schedule.rounds}"
            if schedule.blocks > 1:
                self._doing += f", block {schedule.block_of(piece.round) + 1} of {schedule.blocks}"
        self._doing += f"; last measured: {piece.impl}"

    def _draw(self) -> None:
        if self._live is not None:
            self._drawn_at = self._console.size
            with self._drawing.working():
                self._live.update(self._screen(), refresh=True)
            self._is_drawn = True

    def _screen(self) -> Screen:
        return Screen(self._title, self._plan, self._course, self._standings, self._doing, self._messages)

    def _tell(self, line: str) -> None:
        """Print a line that is not broken, whatever width the console takes a file to have."""
        self._told_s = time.monotonic()
        figures.show(self._console, line)

    def _left(self) -> str:
        left_s = self._course.left_s
        at_most = "about" if self._plan.precision is None else "at most"
        return "" if left_s is None else f", {at_most} {time_left(left_s)} left"

    def _place(self) -> str:
        """Tell which of the cells are measured."""
        keys = [cell.key for cell in self._plan.cells]
        numbers = [keys.index(cell.key) + 1 for cell in self._course.group]
        which = f"cell {min(numbers)}" if len(numbers) == 1 else f"cells {min(numbers)} to {max(numbers)}"
        return f"{which} of {len(self._plan.cells)}, "

    def _standing(self) -> str:
        """Say how busy each side is, and who leads; of cells that are measured together in the last."""
        *_, cell = self._course.group
        glances = self._standings.of(cell)
        text = leader.so_far(glances, self._plan.reference)
        return f"; {leader.sides(glances)}; {leader.verdicts(glances)}; {text}" if text else ""


def _before_slices(plan: Plan) -> str:
    return "starting servers" if plan.conformance_checked else "checking conformance"
