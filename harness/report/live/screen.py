"""A run on a terminal: as much of it as there is room for, from 80 columns and 24 lines to any size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from harness.analysis.comparison import Glance
from harness.analysis.verdicts import NOT_MEASURED, SERVER_BOUND, WITHOUT_CLAIM
from harness.report import figures
from harness.report.live import leader
from harness.report.live.course import Course, State
from harness.report.live.standings import Standings
from harness.schema import CellSummary, Plan, PlannedCell

_ROOMY = 16
"""Lines from which there are empty ones between the parts."""
_SHORTEST_NAME, _LONGEST_NAME = 10, 40
_WORKERS_WIDTH = len("  1 x ")
_HEADERS: dict[leader.By, str] = {
    "throughput": "requests/s\nratio",
    "cpu": "CPU per\nrequest",
    "cpu at fixed rate": "CPU at\nfixed rate",
}
_HEADER_LINES = 2
_MOST_MESSAGES, _LINES_FOR_A_MESSAGE = 3, 6
_LEAST_CELLS = 3
"""So many of the cells' lines are shown, however many rows the table of the current one has."""
_STYLES: dict[State, str] = {"done": "green", "now": "bold", "to come": "dim"}


@dataclass(frozen=True)
class Screen:
    """What is known of a run when it is drawn; draws itself again and again, on a terminal that may change its size."""

    title: str
    plan: Plan
    course: Course
    standings: Standings
    doing: str
    """What goes on now, in a line."""
    messages: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many lines as there are on the screen."""
        width, height = options.max_width, options.height or console.height
        head: list[Table | Text] = [self._bar(width), _line(self.doing, "bold")]
        if self.title:
            head.insert(0, _line(self.title, "dim"))
        most = min(_MOST_MESSAGES, height // _LINES_FOR_A_MESSAGE)
        said = [_line(text, "yellow") for text in self.messages[max(0, len(self.messages) - most) :]]
        cells = [cell for group in self.plan.groups for cell in group]
        gap = [Text()] if height >= _ROOMY else []
        so_far = self._so_far()
        room = height - len(head) - len(said) - len(so_far) - 2 * len(gap) - 1
        kept_for_cells = min(len(cells), _LEAST_CELLS) if gap else 1
        shown, used = self._standing(width, room - kept_for_cells)
        listed = list(self._cells(cells, room - used, width))
        above: list[Table | Text] = [*so_far, *shown]
        lines: list[Table | Text] = [*head, *(gap if above else []), *above, *(gap if listed else []), *listed, *said]
        yield from lines

    def _bar(self, width: int) -> Table:
        grid = Table.grid(padding=(0, 1), expand=False)
        share, left_s = self.course.done_share, self.course.left_s
        at_most = "about" if self.plan.precision is None else "at most"
        left = "" if left_s is None else f"{at_most} {time_left(left_s)} left, "
        done = sum(self.course.state(cell) == "done" for cell in self.plan.cells)
        left += f"{done} of {figures.plural(len(self.plan.cells), 'cell')} done"
        grid.add_row(
            _bar_of(share, min(40, max(10, width - 50))),
            Text(f"{share * 100:.0f} %"),
            Text(left, no_wrap=True),
        )
        return grid

    def _so_far(self) -> list[Text]:
        """Say in a line who leads, where one cell is measured at a time."""
        group = self.course.group
        told = self._leader(self.standings.of(group[0])) if len(group) == 1 else ""
        return [_line(f"So far {told}")] if told else []

    def _standing(self, width: int, most: int) -> tuple[list[Table | Text], int]:
        """Show the cells that are measured now, a row for each implementation; also returns how many lines it takes."""
        group = [self.standings.of(cell) for cell in self.course.group]
        rows = [one for glances in group for one in _ordered(glances)]
        most -= _HEADER_LINES
        if not rows or most < len(("row", "more")):
            return [], 0
        kept = rows if len(rows) <= most else rows[: most - 1]
        table = _Columns(width, map(leader.counts, group), several=len(group) > 1).table(kept, self.plan)
        lines = [_line(f"… and {len(rows) - len(kept)} more", "dim")] if len(kept) < len(rows) else []
        return [table, *lines], _HEADER_LINES + len(kept) + len(lines)

    def _leader(self, glances: Sequence[Glance]) -> str:
        return leader.so_far(glances, self.plan.reference)

    def _cells(self, cells: Sequence[PlannedCell], room: int, width: int) -> Iterator[Text]:
        """List the cells with what came of them; where there is no room for all, those around the current one."""
        if room < 1:
            return
        now = next((n for n, cell in enumerate(cells) if self.course.state(cell) == "now"), 0)
        if room <= _LEAST_CELLS or len(cells) <= room:
            first = min(max(0, now - room // 2), max(0, len(cells) - room))
            yield from (self._cell(cell, width) for cell in cells[first : first + room])
            return
        first = min(max(0, now - (room - 1) // 2), len(cells) - room)
        end = first + room
        if first:
            first += 1  # the line that says so takes the place of one
            yield _line(f"… {figures.plural(first, 'cell')} before", "dim")
        after = len(cells) - end + 1 if end < len(cells) else 0
        yield from (self._cell(cell, width) for cell in cells[first : len(cells) - after])
        if after:
            yield _line(f"… {figures.plural(after, 'cell')} after", "dim")

    def _cell(self, cell: PlannedCell, width: int) -> Text:
        state = self.course.state(cell)
        line = _line("")
        line.append(f"{state:<7}", _STYLES[state])
        line.append(f"  {cell.key}", "bold" if state == "now" else "")
        if state == "done":
            found = self.standings.of(cell)
            told = leader.each(found, self.plan.reference)
            line.append(f"  {told if 0 < len(told) <= width - len(line) - 2 else self._leader(found)}")
        return line


class _Columns:
    """What a table has room for: columns are left out whole, so that no number is cut."""

    def __init__(self, width: int, by: Iterable[leader.By], *, several: bool) -> None:
        """``by`` is what the cells are ranked by; ``several`` is whether there are more than one."""
        self._width = width
        self._several = several
        by_cpu = {one for one in by if one != "throughput"}
        self._by: leader.By = "cpu" if "cpu" in by_cpu else by_cpu.pop() if by_cpu else "throughput"

    def table(self, rows: Sequence[Glance], plan: Plan) -> Table:
        """Put rows under their headers."""
        columns = self._with_room([one for one in self._columns(rows, plan) if not one.is_empty])
        around = sum(one.width + 1 for one in columns)
        names = [self._name(one, max(_SHORTEST_NAME, min(_LONGEST_NAME, self._width - around))) for one in rows]
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
        table.add_column("\n", no_wrap=True, overflow="ellipsis")
        for one in columns:
            table.add_column(one.header, justify=one.justify, no_wrap=True, overflow="ellipsis")
        for name, *row in zip(names, *(one.texts for one in columns), strict=True):
            table.add_row(name, *row)
        return table

    def _columns(self, rows: Sequence[Glance], plan: Plan) -> Iterator["_Column"]:
        """Make all columns but that of the names; how busy each side's CPUs are is in per cent."""
        rates = [Text(figures.number(one.summary.throughput_rps.value, 0)) for one in rows]
        yield _Column("requests/s", rates, left_out=2)
        by_cpu: leader.By = self._by if self._by != "throughput" else "cpu"
        for by in ("throughput", by_cpu):
            left_out = 0 if by == self._by else 1
            pairs = [_ratio(one.summary, by, is_reference=one.summary.impl == plan.reference) for one in rows]
            optional = by != self._by
            yield _Column(_HEADERS[by], [ratio for ratio, _ in pairs], left_out, may_be_empty=optional)
            intervals = [interval for _, interval in pairs]
            yield _Column("95 %\ninterval", intervals, left_out, "left", may_be_empty=optional)
        yield _Column("server\nCPU", [_share(one.busy.server) for one in rows], left_out=4)
        yield _Column("client\nCPU", [_share(one.busy.client) for one in rows], left_out=3)
        yield _Column("backend\nCPU", [_share(one.busy.backend) for one in rows], left_out=3, may_be_empty=True)
        yield _Column("verdict\nso far", [_verdict(one.summary) for one in rows], 0, "left")

    def _with_room(self, columns: list["_Column"]) -> list["_Column"]:
        """Leave out what there is no room for."""
        room = self._width - _SHORTEST_NAME - _WORKERS_WIDTH * self._several
        while sum(one.width + 1 for one in columns) > room:
            orders = [one.left_out for one in columns if one.left_out]
            if not orders:
                break
            columns = [one for one in columns if one.left_out != min(orders)]
        return columns

    def _name(self, one: Glance, width: int) -> Text:
        name = figures.printable(one.summary.impl)
        if not self._several:
            return Text(_shortened(name, width))
        return Text(f"{one.summary.workers:>3} x {_shortened(name, max(_SHORTEST_NAME, width - _WORKERS_WIDTH))}")


class _Column(NamedTuple):
    """A column of a table, whole."""

    header: str
    texts: Sequence[Text]
    left_out: int
    """Its turn to be left out where there is no room for all; 0: never."""
    justify: Literal["left", "right"] = "right"
    may_be_empty: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and is there for those that have it."""
        return self.may_be_empty and all(one.plain in {figures.NONE, ""} for one in self.texts)

    @property
    def width(self) -> int:
        """How wide it is where nothing is cut."""
        return max(map(len, [*self.header.split("\n"), *(one.plain for one in self.texts)]))


def _bar_of(share: float, width: int) -> Text:
    """Draw a bar that has its track without colours, too."""
    full = round(share * width)
    return Text("█" * full, "green").append("░" * (width - full), "dim")


def _shortened(name: str, width: int) -> str:
    """Leave out the middle of a name that is too long: variants differ at the end."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def _share(share: float) -> Text:
    return Text(f"{share * 100:.0f} %" if share else figures.NONE)


def _ordered(glances: Sequence[Glance]) -> list[Glance]:
    """Put the best first, and those without figures last."""
    by = leader.counts(glances)

    def place(one: Glance) -> float:
        value = leader.ratio_of(one.summary, by).value
        if value is None:
            return float("inf")
        return -value if by == "throughput" else value

    return sorted(glances, key=place)


def _ratio(summary: CellSummary, by: leader.By, *, is_reference: bool) -> tuple[Text, Text]:
    """Return a ratio and its interval; the colour says whether the reference is beaten."""
    ratio = leader.ratio_of(summary, by)
    if is_reference and ratio.value is not None:
        return Text("reference", "dim"), Text()
    decimals = figures.ratio_decimals(ratio)
    style = "dim"
    if ratio.value is not None and not ratio.holds(1.0):
        style = "green" if (ratio.value < 1) == (by != "throughput") else "red"
    elif ratio.value is not None:
        style = "yellow"
    return Text(figures.number(ratio.value, decimals), style), Text(figures.interval(ratio, decimals), style)


def _verdict(summary: CellSummary) -> Text:
    if summary.verdict in WITHOUT_CLAIM - {NOT_MEASURED}:
        return Text(summary.verdict, "red")
    if not summary.rounds or summary.verdict == NOT_MEASURED:
        return Text(figures.NONE, "dim")  # too early to tell
    return Text(summary.verdict, "green" if summary.verdict == SERVER_BOUND else "yellow")


def _line(text: str, style: str = "") -> Text:
    """Return a line that is cut where the screen ends, and has nothing in it that moves the cursor."""
    return Text(figures.printable(text), style, no_wrap=True, overflow="ellipsis")


def time_left(seconds: float) -> str:
    """Return ``45 s``, ``3:20 min`` or ``1:20 h``."""
    whole = round(seconds)
    if whole < 100:  # noqa: PLR2004  up to here seconds read best
        return f"{whole} s"
    minutes, seconds_left = divmod(whole, 60)
    if minutes < 100:  # noqa: PLR2004  and then minutes
        return f"{minutes}:{seconds_left:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"
