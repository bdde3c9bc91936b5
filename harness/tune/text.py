"""A plan and what came of it, as people read it."""

from collections.abc import Sequence
from itertools import groupby

from harness.nic.device import Nic
from harness.report.figures import NONE, plural, table, wrap
from harness.tune.plan import Change, Plan
from harness.tune.settings import write_cpus

_SHOWN_ALIKE = 4
"""Of so many settings that are changed for the same reason the first and the last are shown."""
_WHY_WIDTH, _LEAST_WHY = 58, 16
_GAP = "  "


def device(nic: Nic, cpus: tuple[int, ...], columns: int) -> str:
    """Say what is tuned, and for which CPUs."""
    parts = [nic.driver or nic.kind or "no driver", *([f"{nic.speed_mbps:,} Mbit/s"] if nic.speed_mbps else [])]
    parts += [f"memory node {nic.numa_node}"] if nic.numa_node is not None else []
    queues = f"{plural(len(nic.rx), 'queue')} to receive, {len(nic.tx)} to send"
    many = "CPU" if len(cpus) == 1 else "CPUs"
    return wrap(f"{nic.name} ({', '.join(parts)}): {queues}; for {many} {write_cpus(cpus)}", columns) + "\n"


def plan(found: Plan, columns: int) -> list[str]:
    """Return the lines of the table of what is to be changed, and what cannot be had."""
    needed, right = found.needed, len(found.changes) - len(found.needed)
    lines = []
    if needed:
        rows = [row for one in _alike(needed) for row in _rows(one)]
        taken = sum(max(map(len, column)) + len(_GAP) for column in list(zip(*rows, strict=True))[:-1])
        for row in rows:
            row[-1] = wrap(row[-1], max(_LEAST_WHY, min(_WHY_WIDTH, columns - taken)))
        lines += [table(rows, ["setting", "now", "then", "why"]), ""]
    others = "others are" if needed else "settings are all"
    if right:
        lines += [f"{right:,} {others} as they should be." if right > 1 else "1 other is as it should be.", ""]
    return [*lines, *listing("Not to be had:", found.notes, columns)]


def listing(title: str, texts: Sequence[str], columns: int) -> list[str]:
    """Return the lines of a list with a title, and an empty one after it; none where nothing is in it."""
    if not texts:
        return []
    return [title, *(wrap(text, columns, "  ", "    ") for text in texts), ""]


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    return [list(group) for _, group in groupby(changes, key=lambda one: (type(one.setting), one.part, one.why))]


def _rows(group: Sequence[Change]) -> list[list[str]]:
    """Return a row for each, with the reason beside the first."""
    shown = list(group) if len(group) <= _SHOWN_ALIKE else [group[0], group[-1]]
    rows = [[str(one.setting), one.now or NONE, one.then, ""] for one in shown]
    if len(shown) < len(group):
        rows.insert(1, [f"… {len(group) - len(shown)} more like these", "", "", ""])
    rows[0][-1] = group[0].why
    return rows
