"""The one stateful loop: group after group of a plan's cells, each with its share of the time."""

from collections.abc import Mapping, Sequence

from harness.block import Servers
from harness.group_run import GroupRun, Progress, StartClients
from harness.loadgen import clients
from harness.registry import Implementation
from harness.results import RunFolder
from harness.schema import Plan, PlannedCell, Slice
from harness.testbed import Testbed


class Run:
    """Measures the cells of a plan into a run folder, or what earlier runs into that folder have left of them."""

    def __init__(
        self,
        planned: Plan,
        implementations: Mapping[str, Implementation],
        backend: Implementation,
        testbed: Testbed,
        folder: RunFolder,
        progress: Progress,
        done: Sequence[Slice] = (),
        start_clients: StartClients = clients.start,
    ) -> None:
        self._plan = planned
        measured = [implementations[one.name] for one in planned.conformant]
        self._servers = Servers(measured, backend, testbed, folder.path / "servers")
        self._folder = folder
        self._progress = progress
        self._done = done
        self._start_clients = start_clients

    def measure(self) -> None:
        """Measure every cell, where any implementation may be. What was measured before an exception is in the folder.

        Raises ServerFailed when the backend does not start, BackendEnded and GeneratorFailed.
        """
        left_s, cells_left = self._plan.budget_s, len(self._plan.cells)
        for group in self._plan.groups:
            cells = [cell for cell in group if any(map(cell.is_for, self._servers.implementations))]
            slices = [piece for piece in self._done if piece.cell in {cell.key for cell in cells}]
            if cells:
                share_s = left_s * len(group) / cells_left
                self._run(cells, share_s, slices).measure()
            left_s = max(0.0, left_s - sum(piece.slice_s for piece in slices))
            cells_left -= len(group)

    def _run(self, cells: Sequence[PlannedCell], share_s: float, slices: list[Slice]) -> GroupRun:
        return GroupRun(
            self._plan, cells, share_s, self._servers, self._folder, self._progress, slices, self._start_clients
        )
