"""How far a run has come: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from harness.report import figures
from harness.schema import Cell, Schedule, Slice

LINE_EVERY_S = 10.0


class RunProgress:
    """Shows the progress of steps that count up to a known total; a context manager."""

    def __init__(self, console: Console, groups: int) -> None:
        self._console = console
        self._groups = groups
        self._begun = 0
        self._slices = 0
        self._slices_of_group = 1
        self._what = ""
        self._first_cell = ""
        self._started_s = time.monotonic()
        self._told_s = self._started_s
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._groups)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def group_begins(self, cells: Sequence[Cell], schedule: Schedule, contestants: int) -> None:
        """Tell that cells that are measured together begin; it is told again with each block."""
        first, *_, last = [cells[0].key, *(cell.key for cell in cells)]
        if first == self._first_cell:
            return
        self._first_cell = first
        self._begun += 1
        self._slices, self._slices_of_group = 0, max(1, schedule.rounds * contestants)
        which = first if first == last else f"{first} to {last}"
        self._what = f"{which}: {schedule.rounds} rounds of {schedule.slice_s * 1000:.0f} ms each"
        if schedule.blocks > 1:
            self._what += f" in {schedule.blocks} blocks"
        self._told_s = time.monotonic()
        self._tell(f"{self._what}{'' if self._task is not None else self._left()}")

    def slice_ends(self, measured: Slice) -> None:
        """Tell that a slice was measured."""
        self._slices += measured.phase == "load"
        if self._task is not None:
            self._bar.update(self._task, completed=self._done(), description=f"{measured.cell} {measured.impl:<10}")
        elif time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(f"{self._what}, {measured.round + 1} done{self._left()}")

    def failed(self, what: str) -> None:
        """Tell that a server did not start, or gets no more slices."""
        self._console.print(figures.printable(what), highlight=False, markup=False, soft_wrap=True)

    def _tell(self, line: str) -> None:
        """Print a line that is not broken, whatever width the console takes a file to have."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def _done(self) -> float:
        return self._begun - 1 + self._slices / self._slices_of_group

    def _left(self) -> str:
        done = self._done()
        if not done:
            return ""
        elapsed_s = time.monotonic() - self._started_s
        return f", about {elapsed_s * (self._groups - done) / done:.0f} s left"
