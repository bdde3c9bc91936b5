"""Verdicts on conformance as text."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from harness.conformance.verdict import Outcome, Verdict, together
from harness.report import figures
from harness.report.live.terminals import has_screen

_NAME_WIDTH = len("+reuseport")
_MOST_BARS = 12
_MARKS: Final[dict[Outcome, str]] = {
    "passed": "ok",
    "failed": "FAILED",
    "skipped": "skipped",
    "not asked": figures.NONE,
}


class ConformanceProgress:
    """Shows verdicts as they come in: a line for each that did not pass, on a terminal bars; a context manager."""

    def __init__(self, console: Console, obligations: Mapping[str, int]) -> None:
        """``obligations`` says of each implementation how many are checked."""
        self._console = console
        self._obligations = obligations
        self._counts = {name: Counter[Outcome]() for name in obligations}
        self._told: set[tuple[str, str]] = set()
        """What was given as a reason before: a server that does not start has the same for everything."""
        self._started_s = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if has_screen(self._console):
            self._bars = self._begun_bars()
            self._bars.start()
        else:
            text = f"Checking {self._asked()}: about half a minute for each on two CPUs"
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        if error is None:
            elapsed_s = time.monotonic() - self._started_s
            figures.show(self._console, f"{self._text()}; {elapsed_s:.0f} s")

    def verdict(self, implementation: str, verdict: Verdict) -> None:
        """Take a verdict as it comes in."""
        self._counts[implementation][verdict.outcome] += 1
        if verdict.outcome != "passed":
            name, _, reason = verdict.message.partition(": ")
            known = (implementation, reason) in self._told
            self._told.add((implementation, reason))
            text = f"{implementation}  {_MARKS[verdict.outcome]}  {name}: {'the same' if known else reason}"
            tell = figures.warn if verdict.outcome == "failed" else figures.show
            tell(self._console, text)
        if self._bars is not None:
            broken = self._counts[implementation]["failed"] if len(self._tasks) <= _MOST_BARS else self._broken()
            task = self._tasks[implementation]
            self._bars.update(task, advance=1, broken=f"{broken} broken" if broken else "")

    def _begun_bars(self) -> Progress:
        """Make a bar for each implementation, or one for all where they are too many for a screen."""
        bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f} of {task.total:.0f} obligations", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[broken]}", style="red", table_column=Column(no_wrap=True)),
            console=self._console,
            transient=True,
        )
        if len(self._obligations) <= _MOST_BARS:
            for name, obligations in self._obligations.items():
                self._tasks[name] = bars.add_task(figures.printable(name), total=obligations, broken="")
        else:
            several = f"{len(self._obligations)} implementations"
            task = bars.add_task(several, total=sum(self._obligations.values()), broken="")
            self._tasks = dict.fromkeys(self._obligations, task)
        return bars

    def _broken(self) -> int:
        return sum(counts["failed"] for counts in self._counts.values())

    def _asked(self) -> str:
        """Name the numbers, those who have the same together."""
        names: dict[int, list[str]] = {}
        for name, obligations in self._obligations.items():
            names.setdefault(obligations, []).append(name)
        return ", ".join(f"{figures.plural(n, 'obligation')} of {figures.listing(some)}" for n, some in names.items())

    def _text(self) -> str:
        told = []
        for name, counts in self._counts.items():
            broken = f" ({counts['failed']} broken)" if counts["failed"] else ""
            told.append(f"{name} {counts.total()} of {self._obligations[name]}{broken}")
        return f"Obligations checked: {', '.join(told)}"


def render(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """Write a row for each obligation with a column for each implementation, then what failed, then the sums."""
    outcomes = {name: {verdict.id: verdict.outcome for verdict in column} for name, column in verdicts.items()}
    first = next(iter(verdicts.values()))
    rows = [[one.id, *(_MARKS[column[one.id]] for column in outcomes.values()), one.title] for one in first]
    parts = [figures.table(rows, ["obligation", *(figures.name(name, _NAME_WIDTH) for name in outcomes), ""])]
    for outcome, heading in (("failed", "Broken"), ("skipped", "Not checked, as this machine lacks something")):
        messages = [
            f"  {name}  {message}"
            for name, column in verdicts.items()
            for message in together(verdict.message for verdict in column if verdict.outcome == outcome)
        ]
        if messages:
            parts.append("\n".join([heading, *messages]))
    parts.append("\n".join(summary(name, column) for name, column in verdicts.items()))
    return "\n\n".join(parts)


def summary(implementation: str, verdicts: Sequence[Verdict]) -> str:
    """Write the sums of one implementation in one line."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    asked = len(verdicts) - counts["not asked"]
    said = f"{implementation}: {counts['passed']} of {asked} obligations kept"
    if counts["not asked"]:
        said += f" that are asked of it, a peer ({counts['not asked']} are not)"
    if counts["failed"]:
        said += f", {counts['failed']} broken"
    if counts["skipped"]:
        said += f", {counts['skipped']} not checked"
    return said
