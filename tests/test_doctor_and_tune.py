"""harness doctor and harness tune want the same of a card: what the one complains of the other mends."""

import dataclasses
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.doctor import devices
from harness.doctor.system import Roles, System
from harness.machine_files import MachineFiles
from harness.nic import device
from harness.nic.device import Kernel
from harness.tune import command
from tests import commands, made_machine, made_nic

FLOW_TABLE = "proc/sys/net/core/rps_sock_flow_entries"


class Machine:
    """A made machine with a card, which both commands look at."""

    def __init__(self, folder: Path, server: tuple[int, ...], **card: int) -> None:
        self.root = folder / "root"
        self.kernel: Kernel = made_nic.make(self.root, **card)
        self._state = folder / "state.json"
        self._system = made_machine.make(
            folder / "rest", others={"roles": Roles(server=server, client=(2,), backend=(3,))}
        )

    def complaints(self) -> dict[str, str | None]:
        """Return the lines that mend what doctor finds about the card."""
        system: System = dataclasses.replace(
            self._system, files=MachineFiles(self.root), devices=(device.read("card0", self.kernel),)
        )
        found = {check.id: finding for check in devices.AREA.checks for finding in check.findings(system)}
        return {name: finding.mend for name, finding in found.items() if finding.state != "ok"}

    def run(self, line: str) -> commands.Said:
        """Run a line of tune."""
        return commands.run(*shlex.split(line)[1:], "--state", self._state)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Make a machine; there is no need to be root on it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def make(server: tuple[int, ...], **card: int) -> Machine:
        made = Machine(tmp_path, server, **card)
        monkeypatch.setattr(command, "Kernel", lambda: made.kernel)
        return made

    return make


@pytest.mark.parametrize(
    ("server", "queues", "most"), [((0, 1), 1, 8), ((0, 1), 2, 2), ((2, 3), 2, 2), ((1,), 1, 1), ((0, 1, 3), 2, 2)]
)
def test_each_line_of_doctor_mends_what_it_stands_beside(
    machine: Callable[..., Machine], server: tuple[int, ...], queues: int, most: int
) -> None:
    made = machine(server, queues=queues, most=most)
    (made.root / FLOW_TABLE).write_text("32768\n")
    (made.root / "sys/class/net/card0/queues/rx-0/rps_cpus").write_text("8\n")
    complaints = made.complaints()
    assert complaints.keys() >= {"nic.coalescing", "nic.interrupts", "nic.rps", "nic.rfs"}
    for name, mend in complaints.items():
        assert made.run(mend or "").err == "", name
        assert name not in made.complaints()
    assert made.complaints() == {}


@pytest.mark.parametrize(("queues", "most"), [(1, 1), (2, 2), (1, 3), (2, 8)])
def test_what_tune_makes_of_a_card_by_itself_is_right_for_doctor(
    machine: Callable[..., Machine], queues: int, most: int
) -> None:
    made = machine((0, 1), queues=queues, most=most)
    assert made.complaints()
    assert made.run("harness tune --nic card0 --apply").status == 0
    assert made.complaints() == {}
    assert made.run("harness tune --nic card0 --rfs --apply").status == 0
    assert made.complaints() == {}
