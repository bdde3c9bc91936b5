"""Which workers torture kills, and how."""

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from harness import processes
from harness.torture import worker_faults
from harness.torture.client import Target
from harness.torture.ledger import Ledger
from harness.torture.victim import Victim
from harness.torture.way import WAYS, Way

WITHIN_S = 10.0


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process.pid
        process.kill()


def victim(*workers: int, way: Way = WAYS[0]) -> Victim:
    server: Any = SimpleNamespace(pid=os.getpid(), worker_pids=lambda: list(workers))
    return Victim(server, Target(way, "127.0.0.1:1", b""), len(workers))


def test_one_of_several_workers_is_never_killed_so_that_what_leaks_adds_up_in_it() -> None:
    oldest, other = os.getppid(), os.getpid()
    several = victim(oldest, other)
    several.note_fresh()
    assert several.mortal == [other]
    several.pids = [other, oldest]
    assert several.mortal == [other]


def test_an_only_worker_may_be_killed() -> None:
    alone = victim(os.getpid())
    alone.note_fresh()
    assert alone.mortal == [os.getpid()]


@pytest.mark.parametrize(("keeps_of", "spare"), [(1, 10), (4, 10), (10, 10), (None, 0)])
def test_a_proxy_that_keeps_sockets_is_known_by_it_though_its_first_exchanges_left_none(
    keeps_of: int | None, spare: int
) -> None:
    kept: list[socket.socket] = []
    exchanges = 0

    async def exchange() -> bool:
        nonlocal exchanges
        exchanges += 1
        if exchanges == keeps_of:
            kept.append(socket.socket())
        return True

    async def spare_of_one() -> int:
        proxy = victim(os.getpid(), way=WAYS[2])
        proxy.note_fresh()
        await proxy.note_used(5, exchange)
        return proxy._spare

    try:
        assert asyncio.run(spare_of_one()) == spare
    finally:
        for one in kept:
            one.close()


def test_the_account_knows_when_a_worker_was_stopped(sleeper: int, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 1)

    async def pause() -> None:
        pausing = asyncio.create_task(worker_faults.pause(victim(sleeper), sleeper, 0.1, ledger))
        await asyncio.sleep(0)
        [under_way] = ledger.pauses
        assert under_way.end_s == math.inf
        assert processes.wait_until(lambda: processes.state(sleeper) == psutil.STATUS_STOPPED, WITHIN_S)
        await pausing

    asyncio.run(pause())
    [over] = ledger.pauses
    assert over.server == WAYS[0].name
    assert 0.1 <= over.end_s - over.begin_s < math.inf
    assert ledger.faults["workers stopped for a moment"] == 1
    assert processes.wait_until(lambda: processes.state(sleeper) == psutil.STATUS_SLEEPING, WITHIN_S)


def test_a_worker_that_cannot_be_stopped_in_time_goes_on_and_nobody_waits_for_it(
    sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_faults, "_STOPPED_WITHIN_S", 1.5)  # no pause of this process takes all of it
    monkeypatch.setattr(processes, "state", lambda _: psutil.STATUS_DISK_SLEEP)
    ledger, turns = Ledger(tmp_path, 1), 0

    async def kill() -> float | None:
        nonlocal turns
        killing = asyncio.create_task(worker_faults.kill(victim(sleeper), sleeper, ledger))
        while not killing.done():
            turns += 1
            await asyncio.sleep(0.001)
        return killing.result()

    assert asyncio.run(kill()) is None
    monkeypatch.undo()
    assert turns > 2
    assert not ledger.faults
    assert processes.wait_until(lambda: processes.state(sleeper) == psutil.STATUS_SLEEPING, WITHIN_S)


def test_a_worker_is_killed_when_it_is_stopped(sleeper: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, seen = Ledger(tmp_path, 1), []
    monkeypatch.setattr(worker_faults, "_STOPPED_WITHIN_S", WITHIN_S)
    monkeypatch.setattr(worker_faults, "_mark", lambda *_: seen.append(processes.state(sleeper)))
    monkeypatch.setattr(worker_faults, "REPLACED_WITHIN_S", 0.0)
    asyncio.run(worker_faults.kill(victim(sleeper), sleeper, ledger))
    assert seen == [psutil.STATUS_STOPPED]
    assert processes.wait_ended(sleeper, WITHIN_S)
    assert ledger.faults["workers killed"] == 1
