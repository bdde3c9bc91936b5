"""What is planned for a card, and what is made of it: on files that are like the kernel's."""

import errno
import os
from collections.abc import Callable
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from harness.errors import BadInput
from harness.nic import device
from harness.nic.device import Kernel
from harness.nic.netlink import Channels
from harness.tune import applying, changing, survey
from harness.tune.alone import alone
from harness.tune.command import tune
from harness.tune.plan import PARTS
from harness.tune.request import Request
from harness.tune.settings import Place
from tests import commands, made_nic
from tests.made_nic import MadeNetlink


class Killed(BaseException):
    """The end of the process, after which nothing more is done, not even what an interrupt would."""


class Host:
    """A made machine with a card, and the command on it."""

    def __init__(self, folder: Path, **card: int) -> None:
        self.root = folder / "root"
        self.state = folder / "state.json"
        self.kernel: Kernel = made_nic.make(self.root, **card)
        self.said = ""

    @property
    def driver(self) -> MadeNetlink:
        """What netlink answers."""
        assert isinstance(self.kernel.netlink, MadeNetlink)
        return self.kernel.netlink

    def tune(self, **wishes: Any) -> bool:
        """Run the command, and keep what it says."""
        told = StringIO()
        try:
            given: dict[str, Any] = {"device": "card0", "state": self.state} | wishes
            request = Request(**given)
            return tune(request, Console(file=told, width=200), self.kernel)
        finally:
            self.said = told.getvalue()

    @property
    def place(self) -> Place:
        """Where the command looks."""
        return Place(self.kernel, "card0")

    def planned(self, **wishes: Any) -> dict[str, str]:
        """Return what is planned, by setting."""
        found = survey.make_plan(*survey.read(Request(device="card0", **wishes), self.place), self.place)
        return {str(change.setting): change.then for change in found.needed}

    def everything(self) -> dict[str, object]:
        """Return all that can be set; interrupts by their names, since their numbers may be others."""
        queues = self.root / "sys/class/net/card0/queues"
        files = [*queues.glob("*/*"), *(self.root / "proc/sys").rglob("*")]
        found: dict[str, object] = {str(path): path.read_text().split() for path in files if path.is_file()}
        found |= {one.name: one.cpus for one in device.read("card0", self.kernel).interrupts}
        return found | {"channels": self.driver.has, "coalescing": dict(self.driver.coalesces)}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Make a machine; there is no need to be root on it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return lambda **card: Host(tmp_path, **card)


def test_a_card_with_enough_queues_gets_one_for_each_cpu_with_its_interrupt_and_its_sender(
    made: Callable[..., Host],
) -> None:
    host = made(queues=2)
    (host.root / "sys/class/net/card0/queues/rx-0/rps_cpus").write_text("f\n")
    assert host.planned() == {
        "combined channels": "4",
        "adaptive-rx": "0",
        "rx-usecs": "333",
        "interrupt card0-TxRx-0": "0",
        "interrupt card0-TxRx-1": "1",
        "rx-0 rps_cpus": "none",
        "rx-2 rps_cpus": "none",
        "rx-3 rps_cpus": "none",
        **{f"tx-{cpu} xps_cpus": f"{cpu}" for cpu in range(4)},
        "net.core.netdev_max_backlog": "10000",
        "net.core.somaxconn": "8192",
        "net.ipv4.ip_local_port_range": "16384 65535",
        "net.ipv4.tcp_tw_reuse": "1",
    }


def test_a_card_with_fewer_queues_than_cpus_passes_packets_on_and_shares_queues_out(made: Callable[..., Host]) -> None:
    host = made(queues=2, most=2)
    planned = host.planned(rfs=True, leave=frozenset({"sysctls", "coalescing"}))
    assert planned == {
        "interrupt card0-TxRx-0": "0",
        "interrupt card0-TxRx-1": "1",
        "rx-0 rps_cpus": "0-3",
        "rx-1 rps_cpus": "0-3",
        "rx-0 rps_flow_cnt": "16384",
        "rx-1 rps_flow_cnt": "16384",
        "tx-0 xps_cpus": "0,2",
        "tx-1 xps_cpus": "1,3",
        "net.core.rps_sock_flow_entries": "32768",
    }


def test_a_card_with_more_queues_than_cpus_that_cannot_be_changed_has_the_rest_with_nobody(
    made: Callable[..., Host],
) -> None:
    host = made(queues=3)
    planned = host.planned(cpus=(1, 3), leave=frozenset({"channels", "sysctls", "coalescing"}))
    assert planned == {
        "interrupt card0-TxRx-0": "1",
        "interrupt card0-TxRx-1": "3",
        "interrupt card0-TxRx-2": "1",
        "tx-0 xps_cpus": "1",
        "tx-1 xps_cpus": "3",
    }


def test_without_the_host_s_table_no_queue_is_to_remember_connections(made: Callable[..., Host]) -> None:
    host = made(queues=4)
    (host.root / "proc/sys/net/core/rps_sock_flow_entries").unlink()
    assert not [name for name in host.planned(rfs=True) if "flow" in name]
    assert host.tune(rfs=True, leave=frozenset({"sysctls"}))
    assert "receive flow steering: the table net.core.rps_sock_flow_entries is not in this network" in host.said


def test_queues_that_receive_and_send_apart_are_counted_apart(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    host.driver.has = Channels(rx=2, tx=2, max_rx=4, max_tx=1)
    planned = host.planned(leave=frozenset({"sysctls", "coalescing", "interrupts"}))
    assert planned["rx channels"] == "4"
    assert planned["tx channels"] == "1"
    assert "tx-0 xps_cpus" not in planned  # a device with one has no such choice


def test_cpus_beyond_the_32nd_are_written_as_the_kernel_reads_them(made: Callable[..., Host]) -> None:
    host = made(queues=1, most=1)
    (host.root / "sys/devices/system/cpu/online").write_text("0-3,32-33\n")
    assert host.tune(action="apply", cpus=(2, 32, 33))
    assert (host.root / "sys/class/net/card0/queues/rx-0/rps_cpus").read_text() == "3,00000004"
    assert (host.root / "proc/irq/41/smp_affinity_list").read_text() == "2"


def test_a_plan_tells_reasons_and_what_is_not_to_be_had_and_changes_nothing(made: Callable[..., Host]) -> None:
    host = made(queues=1, most=2)
    host.driver.coalesces.clear()
    (host.root / "proc/77").mkdir(parents=True)
    (host.root / "proc/77/comm").write_text("irqbalance\n")
    (host.root / "proc/net").mkdir()
    (host.root / "proc/net/ip_tables_names").write_text("filter\nnat\n")
    before = host.everything()
    assert host.tune()
    assert host.everything() == before
    assert not host.state.exists()
    for text in (
        "card0 (maker, 10,000 Mbit/s, memory node 1): 1 queue to receive, 1 to send; for CPUs 0-3",
        "the device has 2 queues at most, fewer than there are CPUs (4)",
        "the driver has no coalescing",
        "irqbalance: is running",
        "filter (iptables-legacy), nat (iptables-legacy)",
        "harness doctor --nic card0 has the commands that mend these",
        "Nothing was changed",
    ):
        assert text in host.said
    assert "a queue for each CPU" in next(line for line in host.said.splitlines() if line.startswith("combined"))


def test_on_a_narrow_terminal_reasons_are_broken_in_time(made: Callable[..., Host]) -> None:
    host, told = made(), StringIO()
    assert tune(
        Request(device="card0", state=host.state), Console(file=told, width=80, force_terminal=True), host.kernel
    )
    assert max(map(len, told.getvalue().splitlines())) <= 80


def test_what_is_far_from_the_card_s_memory_is_told(made: Callable[..., Host]) -> None:
    host = made()
    made_nic.Tree(host.root).write(host.root / "sys/devices/system/node/node1/cpulist", "2-3")
    assert host.tune()
    assert "is at node 1, CPU 0-1 of the server's is not" in host.said


def test_apply_makes_the_plan_true_also_for_interrupts_that_come_with_it_and_revert_brings_all_back(
    made: Callable[..., Host],
) -> None:
    host = made(queues=2)
    before = host.everything()
    assert host.tune(action="apply", rfs=True)
    assert host.planned(rfs=True) == {}
    bound = {one.name: one.cpus for one in device.read("card0", host.kernel).interrupts}
    every = (0, 1, 2, 3)
    assert bound == {"card0-config": every, **{f"card0-TxRx-{cpu}": (cpu,) for cpu in range(4)}}
    assert host.driver.coalesces["rx-usecs"] == 333
    # Another plan on top: what was before the first one counts.
    assert host.tune(action="apply", cpus=(3,))
    assert host.tune(action="revert")
    assert host.everything() == before
    assert not host.state.exists()
    assert host.tune(action="revert")
    assert "Nothing to revert" in host.said


def test_settings_of_queues_that_were_taken_away_come_back_with_them(made: Callable[..., Host]) -> None:
    host = made(queues=4)
    (host.root / "sys/class/net/card0/queues/rx-3/rps_cpus").write_text("c")
    (host.root / "sys/class/net/card0/queues/tx-2/xps_cpus").write_text("5")
    (host.root / "proc/irq/44/smp_affinity_list").write_text("1-2")
    before = host.everything()
    assert host.tune(action="apply", cpus=(0, 1))
    assert host.driver.has.combined == 2
    assert host.tune(action="revert")
    assert host.everything() == before


def test_what_a_driver_refuses_is_told_and_the_rest_is_made_for_what_there_is(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    host.driver.refuses = {"combined": errno.EBUSY, "rx-usecs": errno.EOPNOTSUPP}
    before = host.everything()
    assert not host.tune(action="apply")
    assert "combined channels: 4 was refused: Device or resource busy" in host.said
    assert "rx-usecs: 333 was refused" in host.said
    # With two queues for four CPUs packets are passed on, which the plan with four did not want.
    assert (host.root / "sys/class/net/card0/queues/rx-1/rps_cpus").read_text() == "f"
    assert host.tune(action="revert")
    assert host.everything() == before


@pytest.mark.parametrize("problem", [errno.EPERM, errno.ENODEV])
def test_any_other_problem_brings_all_back(made: Callable[..., Host], problem: int) -> None:
    host = made(queues=2)
    host.driver.refuses = {"rx-usecs": problem}
    before = host.everything()
    assert not host.tune(action="apply")
    assert "All was brought back as it was" in host.said
    assert os.strerror(problem) in host.said
    assert host.everything() == before
    assert not host.state.exists()


@pytest.mark.parametrize("problem", [BadInput("no"), RuntimeError()])
def test_a_problem_of_any_kind_brings_all_back(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    host = made(queues=2)
    before = host.everything()
    monkeypatch.setattr(survey, "read", Mock(side_effect=[survey.read(Request(device="card0"), host.place), problem]))
    with pytest.raises(type(problem)):
        host.tune(action="apply")
    assert "All was brought back as it was" in host.said
    assert host.everything() == before
    assert not host.state.exists()


def test_an_interrupt_of_a_second_apply_leaves_the_first_and_what_was_before_it(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ending = made(queues=2), Ending(monkeypatch, KeyboardInterrupt)
    before = host.everything()
    assert host.tune(action="apply")
    first, kept = host.everything(), host.state.read_text()
    assert ending.comes(host, "apply", 5, cpus=(2, 3), rfs=True, usecs=20)
    assert host.everything() == first
    assert host.state.read_text() == kept
    assert host.tune(action="revert")
    assert host.everything() == before


def test_the_host_of_two_cards_is_brought_back_with_the_last_one(made: Callable[..., Host], tmp_path: Path) -> None:
    host = made(queues=2)
    made_nic.Tree(host.root).copy_card("card1", 8)
    before = host.everything()
    other = {"device": "card1", "state": tmp_path / "other.json"}
    alone = frozenset({"channels", "coalescing", "interrupts"})  # the made driver has one card
    assert host.tune(action="apply", leave=alone)
    assert host.tune(action="apply", leave=alone, **other)
    assert host.tune(action="revert")
    assert "the host's settings stay, for card1, with whose --revert they come back" in host.said
    assert (host.root / "proc/sys/net/core/somaxconn").read_text() == "8192"
    assert host.tune(action="revert", **other)
    assert host.everything() == before
    assert not list((host.root / "run").iterdir())


def test_that_changes_stand_is_told_where_standard_output_cannot_be_written(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = made(queues=2)
    monkeypatch.setattr(applying, "lost_output", lambda: OSError(errno.ENOSPC, "full"))
    assert host.tune(action="apply")
    assert "the changes stand; what was is in" in capsys.readouterr().err


def test_where_all_is_left_as_it_is_nothing_is_offered(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    assert host.tune(leave=frozenset(PARTS))
    assert host.said.splitlines()[1:] == ["", "Nothing is to be changed."]


class Ending:
    """Writes settings, and ends with an exception before a certain change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]) -> None:
        self._write, self._kind = changing.write, kind
        self._left: int | None = None
        monkeypatch.setattr(changing, "write", self._count)
        if kind is Killed:
            monkeypatch.setattr(applying, "roll_back", lambda *_: None)

    def comes(self, host: Host, action: str, step: int, **wishes: Any) -> bool:
        """Run the command, and tell whether it came to this change."""
        self._left = step
        try:
            host.tune(action=action, **wishes)
        except self._kind:
            return True
        finally:
            self._left = None
        return False

    def _count(self, *values: Any) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise self._kind
        self._write(*values)


def test_an_interrupt_before_any_change_brings_all_back(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ending = made(queues=2), Ending(monkeypatch, KeyboardInterrupt)
    before = host.everything()
    for step in count():
        if not ending.comes(host, "apply", step):
            break
        assert host.everything() == before, step
        assert not host.state.exists()
    assert step > 10


def test_the_end_before_any_change_leaves_what_revert_needs(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ending = made(queues=4), Ending(monkeypatch, Killed)
    (host.root / "proc/irq/44/smp_affinity_list").write_text("1-2")
    before = host.everything()
    for step in count():
        ended = ending.comes(host, "apply", step, cpus=(0, 1))
        if step % 2:  # goes on with what was broken off
            assert host.tune(action="apply", cpus=(0, 1))
        ended |= ending.comes(host, "revert", step)
        assert host.tune(action="revert")
        assert host.everything() == before, step
        assert not host.state.exists()
        if not ended:
            break
    assert step > 10


def test_what_somebody_else_has_changed_since_is_told_and_brought_back(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    before = host.everything()
    host.tune(action="apply")
    host.driver.coalesces["rx-usecs"] = 50
    assert host.tune(action="revert")
    assert "rx-usecs: was 50, which is of somebody else" in host.said
    assert host.everything() == before


def test_what_cannot_be_brought_back_is_told_and_kept_for_another_try(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    before = host.everything()
    host.tune(action="apply")
    host.driver.refuses = {"rx-usecs": errno.EBUSY}
    assert not host.tune(action="revert")
    assert "rx-usecs: is 333 and was 20: Device or resource busy" in host.said
    host.driver.refuses = {}
    assert host.tune(action="revert")
    assert host.everything() == before


def test_a_driver_that_makes_something_else_of_a_value_is_told(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    host.driver.rounds_to = 2
    assert host.tune(action="apply")
    assert "rx-usecs: the driver has made 332 of 333" in host.said


def test_after_another_start_of_the_machine_nothing_is_reverted(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    host.tune(action="apply")
    (host.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
    tuned = host.everything()
    assert host.tune(action="revert")
    assert "the machine was started since" in host.said
    assert host.everything() == tuned
    assert not host.state.exists()


def test_what_was_of_another_device_is_not_written_over(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    host.tune(action="apply", leave=frozenset({"xps"}))
    kept = host.state.read_text()
    (host.root / "sys/class/net/card0/ifindex").write_text("8\n")
    with pytest.raises(BadInput, match=r"to another device \(card0, number 7\)"):
        host.tune(action="apply")
    assert host.state.read_text() == kept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("net.core.somaxconn", "kernel.core_pattern"),
        ("rx-0", "../../../../etc"),
        ('"version": 1', '"version": 9'),
        ("{", "[" ),
    ],
)  # fmt: skip
def test_a_state_that_tune_did_not_write_is_refused(made: Callable[..., Host], old: str, new: str) -> None:
    host = made(queues=2)
    host.tune(action="apply")
    tuned = host.everything()
    for record in (host.state, *(host.root / "run").iterdir()):
        record.write_text(record.read_text().replace(old, new))
    with pytest.raises(BadInput, match=r"\.json: .*it must be as harness tune wrote it"):
        host.tune(action="revert")
    assert host.everything() == tuned


def test_nothing_is_changed_where_what_was_cannot_be_kept(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    before = host.everything()
    host.state = host.state.parent / "absent" / "state.json"
    with pytest.raises(BadInput, match=r"cannot be written: No such file or directory; nothing was changed"):
        host.tune(action="apply")
    assert host.everything() == before


def test_one_at_a_time_changes_settings(made: Callable[..., Host]) -> None:
    host = made(queues=2)
    before = host.everything()
    with alone(host.root), pytest.raises(BadInput, match="another harness tune is at work here"):
        host.tune(action="apply")
    assert host.everything() == before
    assert host.tune(action="apply")


def test_without_root_the_plan_is_shown_and_no_more(made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = made(queues=2)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert host.tune()
    for action in ("apply", "revert"):
        with pytest.raises(BadInput, match=rf"--{action}: takes root"):
            host.tune(action=action)


def test_a_bridge_is_refused_with_the_devices_below_it(
    made: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = made()
    (host.root / "sys/class/net/card0/lower_eth5").mkdir()
    monkeypatch.setattr(MadeNetlink, "kind", lambda *_: "bridge")
    with pytest.raises(BadInput, match=r"is a device of kind bridge.*; name what its packets go through: eth5"):
        host.tune()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--nic", "absent"], "'absent' is no network device here; there are: "),
        (["--nic", "lo"], "--nic lo: is a device of kind loopback"),
        ([], "--nic"),
        (["--nic", "lo", "--leave", "nothing"], "'nothing' is not one of channels, coalescing,"),
        (["--nic", "lo", "--coalesce", "-1"], "'-1' is not a number from 0 to 10000"),
        (["--nic", "lo", "--revert", "--rfs"], "--rfs: not beside --revert"),
        (["--nic", "lo", "--revert", "--apply"], "--apply: not beside --revert"),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments: list[str], part: str) -> None:
    said = commands.run("tune", *arguments)
    assert said.is_one_line_of_error
    assert part in said.err


def test_cpus_that_are_not_online_are_refused(made: Callable[..., Host]) -> None:
    with pytest.raises(BadInput, match=r"--cpus 2,7: not all of these are online"):
        made().tune(cpus=(2, 7))
