"""Idle connections: as many are open as asked for, what becomes of them is told, and what they cost is measured."""

import itertools
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness import block, idle, open_files, processes
from harness.block import Servers
from harness.idle import IdleConnections
from harness.loadgen import GeneratorFailed, holder
from harness.loadgen.holder import Held, Holder, Open
from harness.measure import Contestant
from harness.peers import PEERS
from harness.registry import ROOT, Implementation, find
from harness.schema import Cell, PlannedCell, Workload
from harness.servers import ServerFailed
from harness.testbed.loopback import Loopback

[REFERENCE] = find("epoll_raw")
CPU = min(os.sched_getaffinity(0))
MANY = 1_000
MEMORY_BYTES = {"epoll_raw": (-100, 1_000), "gevent": (4_000, 20_000)}
"""Of an idle connection, least and most, where that is certain: epoll_raw keeps two numbers for it, gevent a stack."""
CAP_SYS_RESOURCE = 24
TOLD_WITHIN_S = 5.0


def cell(workload: Workload, count: int = 0) -> PlannedCell:
    backend_cpus = (CPU,) if workload == "proxy" else ()
    return PlannedCell(
        workload, 1, 5, None, count, server_cpus=(CPU,), generator_cpus=(CPU,), backend_cpus=backend_cpus
    )


@contextmanager
def serving(implementation: Implementation, where: PlannedCell, directory: Path) -> Iterator[block.Block]:
    with block.start(Servers([implementation], REFERENCE, Loopback(), directory), where) as up:
        assert up.failures == {}
        yield up


@contextmanager
def held(contestant: Contestant, count: int) -> Iterator[IdleConnections]:
    with idle.hold(contestant, count, contestant.reply, Loopback().client, [CPU]) as connections:
        yield connections


def sockets(pids: Sequence[int]) -> int:
    """Count the sockets that processes have."""
    count = 0
    for link in itertools.chain.from_iterable(Path(f"/proc/{pid}/fd").iterdir() for pid in pids):
        with suppress(FileNotFoundError):  # it has just been closed
            count += os.readlink(link).startswith("socket:")  # noqa: PTH115  no path
    return count


def told(directory: Path, name: str) -> tuple[int, int]:
    """Return how many requests, and how many connections, a server has told of."""
    [errors] = directory.glob(f"{name}.err")
    lines = re.findall(r"^worker \d+ cpu \d+ requests (\d+) accepted (\d+) ", errors.read_text(), re.MULTILINE)
    return sum(int(requests) for requests, _ in lines), sum(int(accepted) for _, accepted in lines)


def test_a_cell_with_idle_connections_has_the_server_twice_and_they_are_open_in_one(
    impl: Implementation, tmp_path: Path
) -> None:
    with serving(impl, cell("keepalive", MANY), tmp_path) as up:
        [contestant], [without_idle] = up.contestants, up.without_idle

        def many_more() -> int:
            return sockets(contestant.pids) - sockets(without_idle.pids)

        # At first either may have connections left to whoever found out that it answers.
        assert processes.wait_until(lambda: abs(many_more() - MANY) <= idle._MAY_CLOSE, TOLD_WITHIN_S), many_more()
        assert sockets(contestant.pids) >= MANY
        assert contestant.lost_idle() == 0
        assert contestant.idle_rss_bytes is not None
        least, most = MEMORY_BYTES.get(impl.name, (-100, 100_000))
        assert MANY * least <= contestant.idle_rss_bytes < MANY * most

        def one_each() -> bool:
            """Tell whether each connection had a request, those among them that found out that it answers."""
            requests, accepted = told(tmp_path, impl.name)
            return MANY < requests == accepted

        assert processes.wait_until(one_each, TOLD_WITHIN_S)
    assert without_idle.name == impl.name
    requests, accepted = told(tmp_path, f"{impl.name}-without-idle")
    assert 0 < requests == accepted, "a connection there was opened to be idle"


@pytest.mark.parametrize("workload", ["short", "proxy"])
def test_where_connections_are_not_kept_nothing_is_sent_on_them(workload: Workload, tmp_path: Path) -> None:
    with serving(REFERENCE, cell(workload, 30), tmp_path) as up:
        [contestant] = up.contestants
        assert processes.wait_until(lambda: sockets(contestant.pids) >= 30, TOLD_WITHIN_S)
        assert contestant.lost_idle() == 0
    requests, accepted = told(tmp_path, REFERENCE.name)
    assert accepted - requests == 30 < accepted


@pytest.mark.parametrize(("count", "most"), [(30, 65_536), (80_000, 81_005)])
def test_a_server_that_is_to_hold_them_is_told_not_to_end_them(
    count: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "_hold_idle", lambda *_: None)
    with serving(REFERENCE, cell("short", count), tmp_path) as up:
        command = " ".join(up.contestants[0].server.command)
    assert f"--idle-timeout 86400 --max-connections {most}" in command


@pytest.mark.parametrize(("name", "workload"), [("nginx", "keepalive"), ("haproxy", "proxy")])
def test_peers_hold_them_too(name: str, workload: Workload, tmp_path: Path, tool: Callable[[str, str], str]) -> None:
    tool(name, PEERS[name].package)
    [peer] = find(name)
    with serving(peer, cell(workload, 30), tmp_path) as up:
        [contestant] = up.contestants
        assert sockets(contestant.pids) >= 30
        assert contestant.lost_idle() == 0


def test_they_end_with_what_holds_them(tmp_path: Path) -> None:
    with serving(REFERENCE, cell("keepalive"), tmp_path) as up:
        [contestant] = up.contestants
        before = sockets(contestant.pids)
        with held(contestant, 20):
            assert sockets(contestant.pids) >= before + 20 - idle._MAY_CLOSE
        assert processes.wait_until(lambda: sockets(contestant.pids) <= before, TOLD_WITHIN_S)


def test_those_that_a_server_ends_are_told_once(tmp_path: Path) -> None:
    with serving(REFERENCE, cell("keepalive"), tmp_path) as up:
        [contestant] = up.contestants
        with held(contestant, 20) as connections:
            for pid in contestant.pids:
                os.kill(pid, signal.SIGKILL)
            lost = itertools.accumulate(iter(connections.lost, None))
            assert processes.wait_until(lambda: next(lost) == 20, TOLD_WITHIN_S)
            assert connections.lost() == 0
            with pytest.raises(ServerFailed, match=r"epoll_raw (ended|took 0 of 1 idle connections)"):
                connections.open(1)


def test_those_that_a_slow_server_has_taken_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its queue are two; what comes then gets no answer."""
    monkeypatch.setattr(holder, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        slow = Holder(server.getsockname(), 0)
        assert slow.carry_out(Open(9)) == Held(open=2, problem="timed out")
        monkeypatch.setattr(holder, "WITHIN_S", 0.0)
        assert slow.carry_out(Open(9)) == Held(open=2, problem="no more in 0 s")


def test_a_server_that_is_too_slow_is_named_with_what_it_took(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1) as server,
        serving(REFERENCE, cell("short"), tmp_path) as up,
        pytest.raises(ServerFailed, match=r"^epoll_raw took 2 of 9 idle connections: timed out$"),
        held(replace(up.contestants[0], target=server.getsockname(), reply=b""), 9),
    ):
        pytest.fail("nobody accepts them")


def test_a_holder_that_is_killed_is_told(tmp_path: Path) -> None:
    with serving(REFERENCE, cell("keepalive"), tmp_path) as up, held(up.contestants[0], 1) as connections:
        os.kill(connections.pid, signal.SIGKILL)
        with pytest.raises(GeneratorFailed, match="what holds idle connections has ended"):
            processes.wait_until(lambda: connections.lost() > 0, TOLD_WITHIN_S)


def test_a_server_without_descriptors_enough_is_named_with_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "ACCEPTED_WITHIN_S", 0.5)
    where = cell("short")
    with serving(REFERENCE, where, tmp_path) as up:
        [contestant] = up.contestants
        for pid in contestant.pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (50, 50))
        expected = (
            r"epoll_raw took \d+ of 100 idle connections: no more in 0.5 s; "
            r"a process of it may have 50 open files: raise the limit with 'ulimit -Hn 300'"
        )
        with pytest.raises(ServerFailed, match=expected), idle.hold(contestant, 100, b"", Loopback().client, [CPU]):
            pytest.fail("there were descriptors enough")


@pytest.mark.parametrize("also", [[], ["--dry-run"]])
def test_a_limit_that_may_not_be_raised_is_told_before_anything_begins(also: Sequence[str]) -> None:
    """The limit is lowered for a child that may not raise it again, root or not."""
    harness = [sys.executable, "-m", "harness", "compare", "--idle", "3000", *also]
    command = ["sh", "-c", 'ulimit -n 500; exec "$@"', "sh", *harness]
    running = processes.start(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, without_capability=CAP_SYS_RESOURCE
    )
    with running:
        output, errors = running.communicate(timeout=200)
    assert (running.returncode, output) == (2, b"")
    [line] = errors.decode().splitlines()
    assert line.startswith(
        "harness: error: proxy/w1/c100/idle3000: a process needs 3,400 open files, and may have 500; "
        "raise the limit with 'ulimit -Hn 3400' as root, or for good with "
    )


def test_whether_the_limit_may_be_raised_is_found_out_and_leaves_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = (300, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, lower)
    try:
        open_files.check([Cell("short", 1, 200)])
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == lower
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("name", [REFERENCE.name, "nginx"])
def test_servers_raise_their_limit_as_far_as_they_may(
    name: str, tmp_path: Path, tool: Callable[[str, str], str]
) -> None:
    if name in PEERS:
        tool(name, PEERS[name].package)
    [server] = find(name)
    argv = ("sh", "-c", 'ulimit -Sn 64; exec "$@"', "sh", *server.argv)
    with serving(replace(server, argv=argv), cell("short"), tmp_path) as up:
        limits = {resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in up.contestants[0].pids}
    largest = int(Path("/proc/sys/fs/nr_open").read_text())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limits <= {(largest, largest), (hard, hard)}
