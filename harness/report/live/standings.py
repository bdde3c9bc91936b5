"""Where each cell of a run stands: ratios with their intervals as they narrow, and the verdicts so far."""

from harness.analysis.comparison import Glance, glance
from harness.schema import Plan, PlannedCell, Slice


class Standings:
    """Keeps the slices of the cells that are measured now; of those before it keeps what came of them.

    So a run of a day takes no more memory than its largest group of cells.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._group_of = {cell.key: group for group in plan.groups for cell in group}
        self._now: tuple[PlannedCell, ...] = ()
        self._slices: dict[str, list[Slice]] = {}
        self._known: dict[str, list[Glance]] = {}

    def take(self, piece: Slice) -> None:
        """Take a slice; the first of other cells closes the account of those before."""
        group = self._group_of.get(piece.cell, self._now)
        if group != self._now:
            self.look()
            self._now, self._slices = group, {}
        self._slices.setdefault(piece.cell, []).append(piece)

    def look(self) -> None:
        """Work out where the cells stand that are measured now."""
        for cell in self._now:
            if cell.key in self._slices:
                self._known[cell.key] = glance(self._plan, cell, self._slices[cell.key])

    def of(self, cell: PlannedCell) -> list[Glance]:
        """Return where a cell stood when it was last looked at; nothing where it never was."""
        return self._known.get(cell.key, [])
