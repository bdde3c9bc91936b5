"""A setting of the machine is on while anybody needs it, and off again after any end of the last one."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import leftovers, processes
from harness.machine_setting import MachineSetting
from harness.registry import ROOT

ENDS_WITHIN_S = 10.0
HOLDER = """
import signal, sys
from pathlib import Path
from harness.machine_setting import MachineSetting
with MachineSetting("a.setting", Path(sys.argv[1]), Path(sys.argv[2])).switched_on(64):
    print("on", flush=True)
    signal.pause()
"""


@pytest.fixture
def setting(tmp_path: Path) -> MachineSetting:
    """Make one of plain files, which is off."""
    made = MachineSetting("a.setting", tmp_path / "setting", tmp_path / "record")
    made.file.write_text("0\n")
    return made


def value(setting: MachineSetting) -> str:
    return setting.file.read_text().strip()


@contextmanager
def held_by_another(setting: MachineSetting) -> Iterator["subprocess.Popen[str]"]:
    """Have another process need it; that is killed in the end."""
    command = [sys.executable, "-c", HOLDER, str(setting.file), str(setting.record)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "on\n"
            yield holder
        finally:
            holder.kill()
    assert processes.wait_ended(holder.pid, ENDS_WITHIN_S)


def test_it_is_on_while_it_is_needed_and_off_after_any_end(setting: MachineSetting) -> None:
    setting.check()
    with suppress(KeyboardInterrupt), setting.switched_on(64):
        assert value(setting) == "64"
        raise KeyboardInterrupt
    assert value(setting) == "0"
    assert not setting.record.exists()


def test_what_is_on_already_stays_as_it_is(setting: MachineSetting) -> None:
    setting.file.write_text("32\n")
    with setting.switched_on(64):
        assert value(setting) == "32"
    assert value(setting) == "32"
    assert not setting.record.exists()


def test_what_somebody_else_has_set_meanwhile_stays(setting: MachineSetting) -> None:
    with setting.switched_on(64):
        setting.file.write_text("128\n")
    assert value(setting) == "128"
    assert not setting.record.exists()


def test_the_last_of_several_switches_it_off(setting: MachineSetting) -> None:
    with held_by_another(setting) as other:
        with setting.switched_on(64):
            assert not setting.clear_away()
            assert value(setting) == "64"
        assert value(setting) == "64"
        with setting.switched_on(64):
            other.kill()
            assert processes.wait_ended(other.pid, ENDS_WITHIN_S)
            assert not setting.clear_away()
            assert value(setting) == "64"
        assert value(setting) == "0"
        assert not setting.record.exists()


def test_what_a_killed_run_left_on_is_switched_off_and_told(
    setting: MachineSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_by_another(setting):
        pass
    assert value(setting) == "64"
    monkeypatch.setattr(leftovers, "SOCK_FLOW_ENTRIES", setting)
    told: list[str] = []
    leftovers.clear_away(told.append)
    leftovers.clear_away(told.append)
    assert [line for line in told if "a.setting" in line] == [
        "switched off what a run that died has left on: a.setting"
    ]
    assert value(setting) == "0"
    assert not setting.record.exists()


def test_what_a_killed_run_left_on_is_still_its_doing_for_the_one_that_comes_next(setting: MachineSetting) -> None:
    with held_by_another(setting):
        pass
    with setting.switched_on(64):
        assert value(setting) == "64"
    assert value(setting) == "0"


@pytest.mark.parametrize("record", ["", "another-boot 64", "\udcff rubbish 64"])
def test_a_record_that_does_not_tell_of_this_setting_changes_nothing(setting: MachineSetting, record: str) -> None:
    setting.file.write_text("64\n")
    setting.record.write_text(record, errors="surrogateescape")
    assert not setting.clear_away()
    assert value(setting) == "64"
    assert not setting.record.exists()


def test_an_interrupt_while_it_is_switched_off_does_not_keep_it_on(
    setting: MachineSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, interrupts = fcntl.flock, iter([KeyboardInterrupt])

    def interrupted(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            for one in interrupts:
                raise one
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt), setting.switched_on(64):
        assert value(setting) == "64"
    assert value(setting) == "0"
    assert not setting.record.exists()


def test_a_record_that_is_removed_before_it_is_locked_is_made_again(
    setting: MachineSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removals = fcntl.flock, iter([setting.record.unlink])

    def late(descriptor: int, operation: int) -> None:
        for remove in removals:
            remove()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with setting.switched_on(64):
        assert setting.record.exists()
    assert value(setting) == "0"


def test_what_may_not_be_changed_is_refused(setting: MachineSetting) -> None:
    setting.file.unlink()
    with pytest.raises(FileNotFoundError):
        setting.check()
    assert not setting.clear_away()
