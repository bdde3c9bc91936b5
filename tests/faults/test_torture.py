"""Torture finds what is planted: a server with one fault of its own does not stand it, and is told why.

The planted servers are in ``tests/torture_fakes``. One run takes all of the faults that torture injects beside the
planted one, so what is told must not be hidden by any of these.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness import leftovers, processes
from harness.registry import ROOT, Implementation, find
from harness.report.torture import render
from harness.torture import victim
from harness.torture.command import Request, torture
from harness.torture.outcome import MEMORY_BOUND_BYTES, Tortured
from tests import commands

Torture = Callable[..., Tortured]
NO_NOHUP = ["env", "--default-signal=HUP"]
"""Tests may run under nohup(1)."""
SEED = 122
"""With it some backend dies, and workers are killed, within the first second of faults."""


@pytest.fixture
def tortured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Torture]:
    """Give what tortures a planted server for some seconds; what it keeps is removed in the end."""
    monkeypatch.chdir(ROOT)
    done: list[Tortured] = []

    def run(name: str, duration_s: float = 20.0, *, until_lost: bool = True) -> Tortured:
        command = shlex.join([sys.executable, "-m", f"tests.torture_fakes.{name}"])
        [fake] = find("none", [f"{name}={command}"])
        done.append(_run(fake, duration_s, until_lost=until_lost))
        return done[-1]

    yield run
    for one in done:
        shutil.rmtree(one.ledger.folder, ignore_errors=True)


def told_again(running: "subprocess.Popen[str]", number: signal.Signals) -> bool:
    """Send a signal once more, and tell whether the process has ended."""
    if running.poll() is None:
        running.send_signal(number)
    return running.poll() is not None


def _run(implementation: Implementation, duration_s: float, *, until_lost: bool = False) -> Tortured:
    request = Request(
        implementation=implementation,
        duration_s=duration_s,
        workers=2,
        seed=SEED,
        until_lost=until_lost,
    )
    return torture(request, Console(file=StringIO()))


def test_every_fault_at_once_on_a_loaded_server__nothing_is_lost_or_leaked(impl: Implementation) -> None:
    stood = _run(impl, 4.0)
    text = render(stood)
    assert stood.stood, text
    assert "Nothing was lost." in text
    assert stood.ledger.replies.total() > 100, text
    assert stood.ledger.faults["workers killed"], text
    assert stood.ledger.faults["deaths of a backend"], text
    for kind in ("requests in pieces", "requests written slowly", "replies read slowly"):
        assert stood.ledger.faults[kind], text
    assert not stood.ledger.folder.exists()


def test_a_proxy_loses_a_byte_now_and_then__torture_shows_the_requests(tortured: Torture) -> None:
    found = tortured("loses_a_byte")
    assert not found.stood
    assert {text.partition(" ")[0] for text in found.ledger.unexplained} <= {"proxy", "proxy-keepalive"}
    assert found.ledger.unexplained
    assert (found.ledger.folder / "unexplained.jsonl").exists()


def test_a_proxy_mixes_up_replies__torture_shows_the_wrong_bytes(tortured: Torture) -> None:
    found = tortured("mixes_replies")
    assert any("wrong bytes" in text for text in found.ledger.unexplained), render(found)


def test_a_server_keeps_descriptors_of_connections_that_were_reset__torture_counts_them(tortured: Torture) -> None:
    found = tortured("leaks_on_reset", 8.0, until_lost=False)
    leaked = {one.server: one.leaked for one in found.growth}
    assert leaked["server"] + leaked["keepalive"] > 0, render(found)
    assert leaked["proxy"] == 0
    assert not found.stood


def test_a_server_drops_connections_under_load__torture_shows_the_requests(tortured: Torture) -> None:
    found = tortured("drops_silently")
    assert found.ledger.unexplained
    assert all(text.startswith("server ") for text in found.ledger.unexplained), render(found)


def test_a_server_keeps_memory_of_each_request__torture_tells_the_growth(tortured: Torture) -> None:
    found = tortured("keeps_what_it_read", 6.0, until_lost=False)
    assert max(one.allocated_bytes for one in found.growth) > MEMORY_BOUND_BYTES, render(found)
    assert re.search(r"FOUND:\n(.*\n)*  [a-z-]+: [0-9.]+ MB more memory", render(found)), render(found)
    assert not found.stood


def test_a_worker_ends_by_itself_beside_those_that_are_killed__torture_tells_them_apart(tortured: Torture) -> None:
    found = tortured("dies_now_and_then")
    assert any("by itself" in text for text in found.ledger.findings), render(found)
    assert found.ledger.unexplained


def test_a_proxy_that_keeps_no_sockets_leaks_some__torture_counts_them(tortured: Torture) -> None:
    found = tortured("leaks_sockets", 8.0, until_lost=False)
    leaked = {one.server: one.leaked for one in found.growth}
    assert leaked["proxy"] > 0, render(found)
    assert leaked["server"] == leaked["keepalive"] == 0
    assert not found.stood
    assert "  proxy: descriptors leaked: " in render(found)


def test_a_server_does_not_start__torture_says_so_in_one_line() -> None:
    said = commands.run("torture", "--external", "broken=false", "--for", "2s")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert said.err.startswith("harness: error: broken ended before it listened")


def test_a_server_has_fewer_workers_than_asked_for__torture_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(victim, "START_TIMEOUT_S", 1.0)
    command = shlex.join([sys.executable, "-m", "tests.fakes.one_worker"])
    said = commands.run("torture", "--external", f"lonely={command}", "--for", "2s", "--workers", "3")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert "lonely, server: 1 child processes, where 3 workers were asked for" in said.err


def test_the_disk_is_full_during_torture__it_is_broken_off_with_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    new_folder = leftovers.new_folder

    def on_a_full_disk(prefix: str) -> Path:
        folder = new_folder(prefix)
        (folder / "faults.jsonl").symlink_to("/dev/full")
        return folder

    monkeypatch.setattr(leftovers, "new_folder", on_a_full_disk)
    [reference] = find("epoll_raw")
    broken_off = _run(reference, 60.0)
    text = " ".join(render(broken_off).split())
    assert not broken_off.stood
    assert broken_off.lasted_s < 60.0
    assert text.count("are cut off: No space left on device") == 1
    assert broken_off.ledger.requests.total() > 100
    assert broken_off.ledger.balanced


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_or_a_closed_terminal_during_torture__the_account_so_far_is_told_and_nothing_left(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [*NO_NOHUP, sys.executable, "-m", "harness", "torture", "--impl", "epoll_raw", "--for", "20s"]
    command += ["--seed", "3"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert processes.wait_until(lambda: any(tmp_path.glob("*/faults.jsonl")), 60)
            running.send_signal(number)
            assert processes.wait_until(lambda: told_again(running, number), 50, every_s=0.1)
            told, _ = running.communicate(timeout=200)
        finally:
            running.kill()
    assert running.returncode == 130, told
    assert "TORTURE of epoll_raw: seed 3" in told
    assert " + 0 unexplained" in told
    assert "Nothing was lost." in told
    assert not list(tmp_path.iterdir())
