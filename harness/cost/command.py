"""The cost command: what one request takes of each server, a table for each workload."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness import hosts, plan, results
from harness.analysis.cost import Cost, Costs
from harness.cost import counter, tracer
from harness.cost.measurement import Setting, measure
from harness.leftovers import temporary_folder
from harness.registry import Implementation
from harness.report import cost as report
from harness.report import figures
from harness.report.figures import show, warn
from harness.schema import Workload
from harness.servers import ServerFailed
from harness.testbed import Choice, Testbed
from harness.testbed.placement import Cpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementations: Sequence[Implementation]
    workloads: Sequence[Workload]
    testbed: Choice
    cpus: Cpus
    json_file: Path | None


def cost(request: Request, output: Console, progress: Console) -> bool:
    """Count, print a table for each workload, and tell whether all servers have figures. Raises BadInput."""
    if request.json_file:
        results.check_apart(request.json_file)
    tracer.find()
    cells = plan.with_takers(plan.expand(request.workloads, (1,), (1,)), request.implementations)
    complete = True
    costs: list[Cost] = []
    with (
        hosts.opened(request.testbed, progress, with_backend="proxy" in request.workloads) as testbed,
        temporary_folder("cost") as folder,
    ):
        for note in testbed.notes:
            show(output, figures.wrap(note, figures.WIDTH))
        for cell in (hosts.place(request.cpus, one) for one in cells):
            workload, of_workload = cell.workload, []
            for implementation in (one for one in request.implementations if cell.workload in one.workloads):
                setting = Setting(implementation=implementation, cell=cell, testbed=testbed, folder=folder)
                try:
                    with progress.status(f"{implementation.name}, {workload}"):
                        of_workload.append(measure(setting))
                except ServerFailed as failure:
                    warn(progress, f"harness: error: {failure}")
                    complete = False
            if of_workload:
                show(output, report.render(workload, of_workload))
            costs += of_workload
        notes = _notes(testbed)
    found = Costs(testbed=testbed.name, notes=notes, costs=costs)
    show(output, report.legend(found))
    if request.json_file:
        results.write_json(request.json_file, found)
    return complete


def _notes(testbed: Testbed) -> list[str]:
    """Say why something is not told."""
    notes = []
    if testbed.server.holder_pid is None:
        notes.append("On loopback client and server count their segments together, and none are told.")
    try:
        with counter.opened([os.getpid()]):
            pass
    except counter.CannotCount as problem:
        notes.append(f"Instructions are not counted: {problem}.")
    return notes
