"""The one stateful loop: cell after cell of a plan, each with its share of the time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.block import Servers
from harness.cell_run import CellRun, Progress, StartClients
from harness.loadgen import clients
from harness.registry import Implementation
from harness.results import RunFolder
from harness.schema import Plan, Slice
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
        self._implementations = [implementations[one.name] for one in planned.conformant]
        self._servers = Servers([], backend, testbed, folder.path / "servers")
        self._folder = folder
        self._progress = progress
        self._done = done
        self._start_clients = start_clients

    def measure(self) -> None:
        """Measure every cell, where any implementation may be. What was measured before an exception is in the folder.

        Raises ServerFailed when the backend does not start, BackendEnded and GeneratorFailed.
        """
        left_s = self._plan.budget_s
        for number, cell in enumerate(self._plan.cells):
            servers = [one for one in self._implementations if cell.is_for(one)]
            if not servers:
                continue
            slices = [piece for piece in self._done if piece.cell == cell.key]
            share_s = left_s / (len(self._plan.cells) - number)
            CellRun(
                self._plan,
                cell,
                share_s,
                replace(self._servers, implementations=servers),
                self._folder,
                self._progress,
                slices,
                self._start_clients,
            ).measure()
            left_s = max(0.0, left_s - sum(piece.slice_s for piece in slices))
