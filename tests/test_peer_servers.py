"""nginx and HAProxy beside our own servers: they answer, do what they are asked, and never stay behind."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import ports, processes
from harness.conformance import check, count
from harness.errors import BadInput
from harness.peers import PEERS, program
from harness.registry import ROOT, find
from harness.servers import Server

Tool = Callable[[str, str], str]
HARNESS = str(Path(sys.executable).with_name("harness"))
ENDS_WITHIN_S = 5.0
COMPARES_WITHIN_S = 300.0


@pytest.fixture
def installed(tool: Tool) -> None:
    """Need all peers."""
    for peer in PEERS.values():
        path = tool(peer.name, peer.package)
        assert path


def run(*arguments: str, module: str = "harness") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=COMPARES_WITHIN_S)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.usefixtures("installed")
def test_a_peer_keeps_what_is_asked_of_it(name: str, tmp_path: Path) -> None:
    [peer] = find(name)
    verdicts = check(peer, tmp_path)
    assert [verdict.message for verdict in verdicts if verdict.outcome == "failed"] == []
    asked = [verdict.id for verdict in verdicts if verdict.outcome != "not asked"]
    assert sorted(asked) == sorted(PEERS[name].obligations)
    assert count(peer) == len(asked)


@pytest.mark.parametrize("name", PEERS)
def test_one_that_is_not_installed_is_told_with_its_package(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PEERS, name, replace(PEERS[name], name="no-such-program"))
    advice = f"no-such-program: is not installed (Debian: apt-get install {PEERS[name].package})"
    with pytest.raises(BadInput) as caught:
        find(name)
    assert str(caught.value) == advice
    with pytest.raises(SystemExit) as ended:
        program.run(name, lambda *_: pytest.fail("it was prepared"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"harness.peers.{name}: error: {advice}\n"


@pytest.mark.parametrize(
    ("peer", "flags", "named"),
    [
        ("nginx", ["-w", "0"], "'0'"),
        ("nginx", ["-c", "99999"], "CPU 99999"),
        ("nginx", ["-w", "4096"], "--oversubscribe"),
        ("nginx", ["-a", "nonsense"], "nonsense"),
        ("nginx", ["-o", "no/such/folder/x"], "no/such/folder/x"),
        ("nginx", ["--no-such-flag"], "--no-such-flag"),
        ("nginx", ["-x", "127.0.0.1:1"], "-x: nginx takes no part as a proxy"),
        ("haproxy", ["-w", "1"], "-x: haproxy takes part as a proxy alone"),
        ("haproxy", ["-x", "host.invalid:80"], "host.invalid:80"),
        ("nginx", ["--idle-timeout", "0"], "'0'"),
        ("nginx", ["--max-connections", "0"], "'0'"),
        ("nginx", ["--grace", "soon"], "'soon'"),
        ("haproxy", ["--user", "no-such-user", "-x", "127.0.0.1:9"], "--user no-such-user: there is no such user"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_bad_input_is_named_in_one_line(peer: str, flags: list[str], named: str) -> None:
    done = run(*flags, module=f"harness.peers.{peer}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


@pytest.mark.usefixtures("installed")
def test_each_is_compared_in_its_workloads(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    options = ["--impls", "haproxy,nginx", "--reference", "nginx", "--budget", "4s", "--blocks", "1", "--seed", "1"]
    done = run("compare", *options, "--concurrency", "10", "--out", str(tmp_path), "--json", str(summary))
    assert done.returncode == 0, done.stderr
    cells = {(one["workload"], one["impl"]): one for one in json.loads(summary.read_text())["cells"]}
    assert list(cells) == [("short", "nginx"), ("keepalive", "nginx"), ("proxy", "haproxy")]
    assert all(one["requests"] > 0 and one["errors"] == 0 for one in cells.values())
    assert "haproxy takes no part in short and keepalive." in done.stdout
    assert "nginx takes no part in proxy." in done.stdout
    assert "haproxy is a peer: of the contract it is checked for 6 obligations alone" in done.stdout


@pytest.mark.usefixtures("installed")
def test_what_a_request_takes_is_counted_in_its_workloads(tmp_path: Path, tool: Tool) -> None:
    tool("strace", "strace")
    file = tmp_path / "cost.json"
    done = run("cost", "--impls", "haproxy,nginx", "--workloads", "keepalive,proxy", "--json", str(file))
    assert done.returncode == 0, done.stderr
    costs = {(one["workload"], one["impl"]): one["alone"]["calls"] for one in json.loads(file.read_text())["costs"]}
    assert list(costs) == [("keepalive", "nginx"), ("proxy", "haproxy")]
    assert {"recvfrom", "writev", "epoll_wait"} == costs["keepalive", "nginx"].keys()


@pytest.mark.usefixtures("installed")
def test_what_takes_part_in_nothing_that_was_asked_for_is_bad_input(tmp_path: Path) -> None:
    done = run("compare", "--impls", "epoll_raw,haproxy", "--workloads", "short", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "harness: error: haproxy: takes no part in short; leave it out, or give --workloads proxy"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("installed")
def test_each_thread_of_haproxy_is_bound_to_its_cpu(workers: int, tmp_path: Path) -> None:
    [haproxy], cpus = find("haproxy"), sorted(os.sched_getaffinity(0))[-workers:]
    flags = ["-w", str(len(cpus)), "-c", str(cpus[0]), "-x", "127.0.0.1:9"]
    with ports.reserve("127.0.0.1") as address, Server(haproxy, flags, [address], tmp_path, "x") as server:
        server.wait_listening()
        tasks = Path(f"/proc/{server.pid}/task")

        def bound() -> bool:
            found = [list(os.sched_getaffinity(int(task.name))) for task in tasks.iterdir()]
            return sorted(found) == [[cpu] for cpu in cpus]

        assert processes.wait_until(bound, ENDS_WITHIN_S)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.usefixtures("installed")
def test_a_peer_obeys_the_limits_that_it_can(name: str, tmp_path: Path) -> None:
    [peer] = find(name)
    flags = ["-w", "1", "--idle-timeout", "0.2", "--max-connections", "2", "--grace", "0", "--backend-rest", "0.5"]
    flags += ["-x", "127.0.0.1:9"] if name == "haproxy" else []
    with ports.reserve("127.0.0.1") as address, Server(peer, flags, [address], tmp_path, name) as server:
        server.wait_listening()
        with socket.create_connection(ports.split(address)) as client:
            client.settimeout(ENDS_WITHIN_S)
            assert client.recv(1) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.usefixtures("installed")
def test_the_workers_of_a_peer_run_as_another_user(name: str, tmp_path: Path) -> None:
    [peer] = find(name)
    nobody = pwd.getpwnam("nobody").pw_uid
    flags = ["-w", "1", "--user", "nobody", *(["-x", "127.0.0.1:9"] if name == "haproxy" else [])]
    with ports.reserve("127.0.0.1") as address, Server(peer, flags, [address], tmp_path, name) as server:
        server.wait_listening()

        def run_as_nobody() -> bool:
            pids = server.worker_pids() or [server.pid]
            return {os.stat(f"/proc/{pid}").st_uid for pid in pids} == {nobody}  # noqa: PTH116  no path

        assert processes.wait_until(run_as_nobody, ENDS_WITHIN_S)


@pytest.mark.parametrize("killed", ["its master", "the harness"])
@pytest.mark.usefixtures("installed")
def test_no_worker_of_nginx_is_left_behind(killed: str, tmp_path: Path) -> None:
    code = (
        "import sys, signal\n"
        "from pathlib import Path\n"
        "from harness import processes, registry, servers\n"
        "[nginx], flags = registry.find('nginx'), ['-w', '2', '--oversubscribe']\n"
        "server = servers.Server(nginx, flags, [sys.argv[1]], Path(sys.argv[2]), 'x')\n"
        "server.start(); server.wait_ready()\n"
        "processes.wait_until(lambda: len(server.worker_pids()) == 2, servers.START_TIMEOUT_S)\n"
        "print(server.pid, *server.worker_pids(), flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", code]
    with (
        ports.reserve("127.0.0.1") as address,
        subprocess.Popen([*command, address, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness,
    ):
        assert harness.stdout is not None
        try:
            pids = [int(pid) for pid in harness.stdout.readline().split()]
            assert len(pids) == 3
            os.kill(harness.pid if killed == "the harness" else pids[0], signal.SIGKILL)
            assert all(processes.wait_ended(pid, ENDS_WITHIN_S) for pid in pids)
        finally:
            harness.kill()


@pytest.mark.usefixtures("installed")
def test_no_worker_of_nginx_is_left_behind_by_a_script(tmp_path: Path) -> None:
    """In a script it leads no process group."""
    script = '"$@" & echo $!; wait'
    with ports.reserve("127.0.0.1") as address:
        nginx = [sys.executable, "-m", "harness.peers.nginx", "-w", "1", "-a", address, "-o", str(tmp_path / "log")]
        with subprocess.Popen(["/bin/sh", "-c", script, "sh", *nginx], cwd=ROOT, stdout=subprocess.PIPE) as shell:
            assert shell.stdout is not None
            master = int(shell.stdout.readline())
            try:
                assert processes.wait_until(lambda: len(workers(master)) == 1, COMPARES_WITHIN_S)
                [worker] = workers(master)
            finally:
                os.kill(master, signal.SIGKILL)
            assert processes.wait_ended(worker, ENDS_WITHIN_S)


def workers(master: int) -> list[int]:
    """List the workers of nginx: what else is started on the way is no nginx."""
    return [pid for pid in processes.children(master) if is_nginx(pid)]


def is_nginx(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "nginx\n"
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
