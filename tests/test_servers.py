"""Servers start, tell why when they do not, and never stay behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import block, ports, processes, servers
from harness.registry import ROOT, Implementation, find
from harness.schema import PlannedCell
from harness.servers import Server, ServerFailed
from harness.testbed import open_testbed

[REFERENCE] = find("epoll_raw")


def script(code: str) -> Implementation:
    return Implementation("script", (sys.executable, "-c", code), None, external=True)


def test_a_server_starts_answers_and_ends(tmp_path: Path) -> None:
    with ports.reserve("127.0.0.1") as address:
        with Server(REFERENCE, ["-w", "1", "-k"], [address], tmp_path / "new folder", "one") as server:
            server.wait_listening()
            server.wait_ready()
            assert server.sample_reply().startswith(b"HTTP/1.0 200 OK\r\n")
            assert len(server.worker_pids()) == 1
            assert server.process_pids() == sorted([server.pid, *server.worker_pids()])
            assert server.log_path.exists()
            assert server.stderr_lines()[0].startswith("impls.epoll_raw: server, keep-alive on")
            assert not server.died
        assert server.stop() == 0
        server.send_signal(signal.SIGTERM)  # its process id may be another's by now
        assert server.process_pids() == []


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    said = r"script ended before it .*: out of sealing wax \(command: .* -w 1\)"
    ends = script("import sys; sys.exit('out of sealing wax')")
    with Server(ends, ["-w", "1"], ["127.0.0.1:9"], tmp_path, "ends") as server:
        with pytest.raises(ServerFailed, match=said):
            server.wait_listening()
        with pytest.raises(ServerFailed, match=said):
            server.wait_ready()


def test_a_server_that_does_not_listen_is_told(tmp_path: Path) -> None:
    with (
        ports.reserve("127.0.0.1") as address,
        Server(script("import signal; signal.pause()"), [], [address], tmp_path, "deaf") as server,
    ):
        with pytest.raises(ServerFailed, match=f"does not listen on {address} after 0.2 s"):
            server.wait_listening(0.2)
        with pytest.raises(ServerFailed, match=r"gives no correct reply after 0.2 s: .*refused"):
            server.wait_ready(0.2)


def test_a_wrong_reply_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_TRY_TIMEOUT_S", 20.0)  # a try that was too short for the reply would tell of that
    code = (
        "import socket, sys; host, port = sys.argv[2].split(':'); listener = socket.create_server((host, int(port)))\n"
        "while True:\n  client, _ = listener.accept(); client.recv(99); client.send(b'HTTP/1.0 503 Busy\\r\\n\\r\\n')\n"
        "  client.close()"
    )
    with ports.reserve("127.0.0.1") as address, Server(script(code), [], [address], tmp_path, "busy") as server:
        server.wait_listening()
        with pytest.raises(ServerFailed, match="503 Busy"):
            server.wait_ready(0.2)
        with pytest.raises(ServerFailed, match="503 Busy"):
            server.sample_reply()


def test_workers_that_are_forked_late_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "START_TIMEOUT_S", 60.0)  # others may have the CPU meanwhile
    # Longer than is waited for one that sleeps. Asleep it would itself look like a server that has no workers.
    code = (
        "import os, signal, time\n"
        "if os.fork():\n"
        "    while time.process_time() < 1.0:\n"
        "        pass\n"
        "    os.fork()\n"
        "signal.pause()"
    )
    with Server(script(code), [], [], tmp_path, "late") as server:
        server.wait_forked(2)
        assert len(server.worker_pids()) == 2


def test_a_worker_that_is_forked_late_is_in_the_figures_of_its_server(tmp_path: Path) -> None:
    code = (
        "import os, signal, socket, sys, time\n"
        "host, port = sys.argv[sys.argv.index('-a') + 1].split(':')\n"
        "listener = socket.create_server((host, int(port)))\n"
        "if os.fork() == 0:\n"
        "    while True:\n"
        "        client, _ = listener.accept()\n"
        "        client.recv(99)\n"
        "        client.send(b'HTTP/1.0 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
        "        client.close()\n"
        "while time.process_time() < 0.5:\n"
        "    pass\n"
        "os.fork()\n"
        "signal.pause()"
    )
    cpu = min(os.sched_getaffinity(0))
    cell = PlannedCell("short", 2, 10, server_cpus=(cpu, cpu), generator_cpus=(cpu,))
    with (
        open_testbed("loopback", with_backend=False) as testbed,
        block.start(block.Servers([script(code)], REFERENCE, testbed, tmp_path), cell) as started,
    ):
        assert len(started.only().pids) == 3


def test_for_a_server_without_workers_nobody_waits_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "START_TIMEOUT_S", 60.0)  # waiting to the end takes longer than any pause adds
    with Server(script("import signal; signal.pause()"), [], [], tmp_path, "one process") as server:
        began_s = time.monotonic()
        server.wait_forked(2)
        assert time.monotonic() - began_s < 30
        assert server.running


def test_what_ignores_the_signal_is_killed_with_its_workers(tmp_path: Path) -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork()\n"
        "print('ready', flush=True); signal.pause()"
    )
    with Server(script(code), [], [], tmp_path, "stubborn") as server:
        assert processes.wait_until(lambda: server.stdout_text().count("ready") == 2, 10)
        assert len(server.process_pids()) == 2
        assert server.stop(timeout_s=0.1) == -signal.SIGKILL
        assert server.process_pids() == []


def test_a_program_that_does_not_exist_is_told(tmp_path: Path) -> None:
    missing = Implementation("missing", ("/nowhere/at-all",), None, external=True)
    with Server(missing, [], ["127.0.0.1:9"], tmp_path, "missing") as server:
        with pytest.raises(ServerFailed, match="'/nowhere/at-all' cannot be run: No such file"):
            server.wait_listening()
        assert server.stop() == 127


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    with ports.reserve("127.0.0.1") as address:
        server = Server(REFERENCE, ["-w", "1"], [address], tmp_path, "one")
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        try:
            server.wait_ready()
            assert not server.wait_ended(0.3)
        finally:
            server.stop()


def test_a_server_ends_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import signal
from pathlib import Path
from harness import ports, processes
from harness.registry import find
from harness.servers import Server
with ports.reserve("127.0.0.1") as address:
    server = Server(find("epoll_raw")[0], ["-w", "2", "--oversubscribe"], [address], Path({str(tmp_path)!r}), "one")
    server.start()
    server.wait_ready()
    # One worker may answer before the other is there.
    processes.wait_until(lambda: len(server.worker_pids()) == 2, 10)
    print(*server.process_pids(), flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        try:
            assert harness.stdout is not None
            pids = [int(pid) for pid in harness.stdout.readline().split()]
            assert len(pids) == 3
        finally:
            harness.kill()
    assert all(processes.wait_ended(pid, 5) for pid in pids)


def test_a_server_can_be_kept_to_some_cpus(tmp_path: Path) -> None:
    last = max(os.sched_getaffinity(0))
    with Server(script("import signal; signal.pause()"), [], [], tmp_path, "bound", cpus=[last]) as server:
        assert processes.wait_until(lambda: os.sched_getaffinity(server.pid) == {last}, 5)


def test_a_process_may_use_all_cpus_wherever_the_first_one_was_started_from() -> None:
    code = (
        "import os, subprocess, sys\n"
        "from harness import processes\n"
        "with processes.staying_on([min(os.sched_getaffinity(0))]):\n"
        "    processes.start(['true'], cwd=None, stdout=None, stderr=None).wait()\n"
        "print(processes.output([sys.executable, '-c', 'import os; print(*os.sched_getaffinity(0))'], None, 10))\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout
    assert {int(cpu) for cpu in printed.split()} == os.sched_getaffinity(0)
