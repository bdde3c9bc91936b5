"""A run on a terminal: as much of it as there is room for, from 80 columns and 24 lines to any size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.analysis.comparison import Glance
from harness.analysis.verdicts import NOISY, NOT_MEASURED, SERVER_BOUND, WITHOUT_CLAIM
from harness.report import figures
from harness.report.live import leader
from harness.report.live.course import Course, State
from harness.report.live.standings import Standings
from harness.schema import CellSummary, Estimate, Plan, PlannedCell

_WIDE = 112
"""Columns from which there is room for requests/s and both ratios."""
_SHORTEST_NAME, _LONGEST_NAME = 10, 40
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
        room = height - len(head) - len(said) - 1
        shown, used = self._standing(width, room - 1 - min(len(cells), _LEAST_CELLS))
        listed = list(self._cells(cells, room - used - 1))
        gaps = ([Text()] if shown else []), ([Text()] if listed else [])
        lines: list[Table | Text] = [*head, *gaps[0], *shown, *gaps[1], *listed, *said]
        yield from lines

    def _bar(self, width: int) -> Table:
        grid = Table.grid(padding=(0, 1), expand=False)
        share, left_s = self.course.done_share, self.course.left_s
        left = "" if left_s is None else f"about {time_left(left_s)} left, "
        done = sum(self.course.state(cell) == "done" for cell in self.plan.cells)
        left += f"{done} of {figures.plural(len(self.plan.cells), 'cell')} done"
        grid.add_row(
            ProgressBar(total=1.0, completed=share, width=min(40, max(10, width - 50))),
            Text(f"{share * 100:.0f} %"),
            Text(left, no_wrap=True),
        )
        return grid

    def _standing(self, width: int, room: int) -> tuple[list[Table | Text], int]:
        """Show the cells that are measured now, a row for each implementation; also returns how many lines it takes."""
        group = [(cell, self.standings.of(cell)) for cell in self.course.group]
        rows = [(cell, one) for cell, glances in group for one in _ordered(glances)]
        by = {cell.key: leader.counts(glances) for cell, glances in group}
        told = self._leader(group[0][1]) if len(group) == 1 else ""
        most = room - _HEADER_LINES - bool(told)
        if not rows or most < len(("row", "more")):
            return [], 0
        columns = _Columns(
            width, by.values(), several=len(group) > 1, backend=any(one.backend_cpus for one, _ in group)
        )
        kept = rows if len(rows) <= most else rows[: most - 1]
        table = columns.table([columns.row(one, by[cell.key], self.plan) for cell, one in kept])
        lines = [_line(f"… and {len(rows) - len(kept)} more", "dim")] if len(kept) < len(rows) else []
        lines += [_line(f"So far {told}")] if told else []
        return [table, *lines], _HEADER_LINES + len(kept) + len(lines)

    def _leader(self, glances: Sequence[Glance]) -> str:
        return leader.so_far(glances, self.plan.reference)

    def _cells(self, cells: Sequence[PlannedCell], room: int) -> Iterator[Text]:
        """List the cells with what came of them; where there is no room for all, those around the current one."""
        if room < 1:
            return
        now = next((n for n, cell in enumerate(cells) if self.course.state(cell) == "now"), 0)
        if room <= _LEAST_CELLS or len(cells) <= room:
            first = min(max(0, now - room // 2), max(0, len(cells) - room))
            yield from map(self._cell, cells[first : first + room])
            return
        first = min(max(0, now - (room - 1) // 2), len(cells) - room)
        end = first + room
        if first:
            first += 1  # the line that says so takes the place of one
            yield _line(f"… {figures.plural(first, 'cell')} before", "dim")
        after = len(cells) - end + 1 if end < len(cells) else 0
        yield from map(self._cell, cells[first : len(cells) - after])
        if after:
            yield _line(f"… {figures.plural(after, 'cell')} after", "dim")

    def _cell(self, cell: PlannedCell) -> Text:
        state = self.course.state(cell)
        line = _line("")
        line.append(f"{state:<7}", _STYLES[state])
        line.append(f"  {cell.key}", "bold" if state == "now" else "")
        if state == "done":
            line.append(f"  {self._leader(self.standings.of(cell))}")
        return line


class _Columns:
    """What a table has room for."""

    def __init__(self, width: int, by: Iterable[leader.By], *, several: bool, backend: bool) -> None:
        """``by`` is what the cells are ranked by; ``several`` is whether there are more than one."""
        self._wide = width >= _WIDE
        self._backend = backend
        self._several = several
        by_cpu = [one for one in by if one != "throughput"]
        self._cpu_header = f"{'CPU/request' if 'cpu' in by_cpu or not by_cpu else 'CPU at 1 rate'}\nratio"
        self._ratio_header = self._cpu_header if by_cpu else "requests/s\nratio"
        others = 60 + 8 * backend + 10 * (several or self._wide) + 6 * several + 24 * self._wide
        self._name_width = min(max(_SHORTEST_NAME, width - others), _LONGEST_NAME)

    def table(self, rows: Sequence[Sequence[Text]]) -> Table:
        """Put rows under their headers."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
        names = ["requests/s"] if self._wide or self._several else []
        names += ["requests/s\nratio", "", self._cpu_header, ""] if self._wide else [self._ratio_header, ""]
        names += ["server\nCPU", "client\nCPU", *(["backend\nCPU"] if self._backend else [])]
        table.add_column("\n", no_wrap=True, overflow="ellipsis")
        for name in names:
            table.add_column(name, justify="right" if name else "left", no_wrap=True, overflow="ellipsis")
        table.add_column("verdict\nso far", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*row)
        return table

    def row(self, one: Glance, by: leader.By, plan: Plan) -> list[Text]:
        """Return what is known of one implementation; how busy each side's CPUs are in per cent."""
        summary, busy = one
        is_reference = summary.impl == plan.reference
        name = _shortened(figures.printable(summary.impl), self._name_width)
        found = [Text(f"{summary.workers:>3} x {name}" if self._several else name)]
        if self._wide or self._several:
            found.append(Text(figures.number(summary.throughput_rps.value, 0)))
        if self._wide:
            found += _ratio(summary.ratio, is_reference=is_reference, better_is_less=False)
            by_cpu: leader.By = "cpu" if by == "throughput" else by
            found += _ratio(leader.ratio_of(summary, by_cpu), is_reference=is_reference, better_is_less=True)
        else:
            ratio = leader.ratio_of(summary, by)
            found += _ratio(ratio, is_reference=is_reference, better_is_less=by != "throughput")
        shares = [busy.server, busy.client, *([busy.backend] if self._backend else [])]
        return [*found, *(_share(share) for share in shares), _verdict(summary)]


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


def _ratio(ratio: Estimate, *, is_reference: bool, better_is_less: bool) -> list[Text]:
    """Return a ratio and its interval; the colour says whether the reference is beaten."""
    if is_reference and ratio.value is not None:
        return [Text("reference", "dim"), Text()]
    decimals = figures.ratio_decimals(ratio)
    style = "dim"
    if ratio.value is not None and not ratio.holds(1.0):
        style = "green" if (ratio.value < 1) == better_is_less else "red"
    elif ratio.value is not None:
        style = "yellow"
    return [Text(figures.number(ratio.value, decimals), style), Text(figures.interval(ratio, decimals), style)]


def _verdict(summary: CellSummary) -> Text:
    if summary.verdict == NOT_MEASURED or (summary.verdict == NOISY and not summary.rounds):
        return Text(figures.NONE, "dim")  # too early to tell
    if summary.verdict in WITHOUT_CLAIM:
        return Text(summary.verdict, "red")
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
