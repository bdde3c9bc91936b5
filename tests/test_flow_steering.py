"""On which CPU packets are worked on: with packet steering alone, and with receive flow steering."""

import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from harness import processes, results
from harness.machine_setting import MachineSetting
from harness.registry import ROOT
from harness.testbed import Testbed as Hosts  # pytest takes what is called Test… for a test
from harness.testbed import flow_steering
from impls import steering
from tests import commands, namespaces
from tests.namespaces import CPUS

SO_INCOMING_CPU = 49
CONNECTIONS = 200
ANSWERS_WITHIN_S = ENDS_WITHIN_S = 300.0
NEARLY_ALL, MIXED = 0.9, (0.2, 0.8)
UNCHECKED = [sys.executable, "-m", "tests.unchecked", "compare"]

COMPARE = """
import os, signal, sys
from pathlib import Path
from harness import leftovers
from harness.machine_setting import MachineSetting
from harness.results import RunFolder
from harness.testbed import flow_steering
from tests import unchecked
if sys.argv[-1] == "killed":
    RunFolder.append_slice = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    sys.argv.pop()
setting = MachineSetting("a.setting", Path(sys.argv.pop(1)), Path(sys.argv.pop(1)))
leftovers.SOCK_FLOW_ENTRIES = flow_steering.SOCK_FLOW_ENTRIES = setting
unchecked.run()
"""
"""The harness with a setting of its own, since the machine's may be needed by another test at any time.

Arguments are the setting's file and record, those of the command, and ``killed``: then the first slice is its end.
"""


@pytest.fixture(params=[False, True], ids=["without", "with"])
def rfs(request: pytest.FixtureRequest) -> bool:
    """Run the test without and with receive flow steering."""
    return bool(request.param)


@pytest.fixture
def steered(rfs: bool) -> Iterator[Hosts]:  # noqa: FBT001  a fixture's value
    """Open a testbed whose server has two CPUs."""
    with namespaces.steered(rfs=rfs) as testbed:
        yield testbed


def test_a_connection_s_packets_from_the_syn_on_are_received_on_one_of_the_workers_cpus(
    steered: Hosts, *, rfs: bool
) -> None:
    address = (steered.server.address, 3000)
    with ExitStack() as stack:
        # The kernel chooses the listener by the CPU that works on the SYN.
        listeners = [stack.enter_context(steered.server.socket()) for _ in CPUS]
        for listener in listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.settimeout(0)
            listener.bind(address)
            listener.listen(CONNECTIONS)
        steering.attach(listeners[0], CPUS)
        # With flow steering a request goes to the CPU of who has accepted its connection.
        stack.enter_context(processes.staying_on(CPUS[:1]))
        seen = [_cpus_of_one(steered, address, listeners) for _ in range(CONNECTIONS)]
    # So many draws do not fall on one side by chance.
    assert all(MIXED[0] < share(syn == cpu for syn, _, _ in seen) < MIXED[1] for cpu in CPUS)
    # Not all: who has to send again, as after a pause of the machine, draws anew.
    assert share(syn == handshake for syn, handshake, _ in seen) > NEARLY_ALL
    assert share(data == (CPUS[0] if rfs else syn) for syn, _, data in seen) > NEARLY_ALL


def share(found: Iterable[bool]) -> float:
    """Tell which part of them is true."""
    return statistics.fmean(found)


def _cpus_of_one(testbed: Hosts, address: tuple[str, int], listeners: Sequence[socket.socket]) -> tuple[int, int, int]:
    """Make a connection, and tell on which CPUs its SYN, its handshake's end and its request were received."""
    with testbed.client.socket() as client:
        client.settimeout(ANSWERS_WITHIN_S)
        client.connect(address)
        chosen, accepted = _accept(listeners)
        with accepted:
            accepted.settimeout(ANSWERS_WITHIN_S)
            handshake = accepted.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU)
            client.sendall(b"x")
            accepted.recv(1)
            return CPUS[chosen], handshake, accepted.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU)


def _accept(listeners: Sequence[socket.socket]) -> tuple[int, socket.socket]:
    """Accept from whichever listener has got the connection."""
    found: list[tuple[int, socket.socket]] = []

    def look() -> bool:
        for number, listener in enumerate(listeners):
            try:
                found.append((number, listener.accept()[0]))
            except BlockingIOError:
                continue
        return bool(found)

    assert processes.wait_until(look, ANSWERS_WITHIN_S)
    return found[0]


def test_replies_of_a_backend_are_received_on_the_worker_s_cpu_with_it_and_on_any_without(
    steered: Hosts, *, rfs: bool
) -> None:
    assert (flow_steering.NOTE in steered.notes) == rfs
    address = (steered.backend.address, 3000)
    with closing(steered.backend.socket()) as listener:
        listener.settimeout(ANSWERS_WITHIN_S)
        listener.bind(address)
        listener.listen()
        local = [_is_reply_local(steered, listener, worker) for worker in CPUS for _ in range(CONNECTIONS // 2)]
    assert share(local) > NEARLY_ALL if rfs else MIXED[0] < share(local) < MIXED[1]


def _is_reply_local(testbed: Hosts, listener: socket.socket, worker: int) -> bool:
    """Exchange a message with the backend, on a worker's CPU; tell whether the reply's packet was received there."""
    with processes.staying_on([worker]), testbed.server.socket() as proxy:
        proxy.settimeout(ANSWERS_WITHIN_S)
        proxy.connect(listener.getsockname())
        proxy.sendall(b"request")
        with listener.accept()[0] as backend:
            backend.settimeout(ANSWERS_WITHIN_S)
            backend.recv(100)
            backend.sendall(b"reply")
            proxy.recv(100)
            return proxy.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU) == worker


@pytest.mark.parametrize("rfs", [True], indirect=True)
def test_replies_to_two_workers_of_a_proxy_are_received_on_their_own_cpus(steered: Hosts, tmp_path: Path) -> None:
    assert flow_steering.NOTE in steered.notes
    options = ["--rfs", "--impls", "epoll_raw", "--workloads", "proxy", "--workers", "2", "--budget", "3s"]
    said = _run([*UNCHECKED, *options, "--blocks", "1", "--out", str(tmp_path)])
    assert "harness: error" not in said.stderr
    [run] = tmp_path.iterdir()
    # Workers tell once a second, in a slice of whatever phase.
    told = [worker for piece in results.load(run).slices for worker in piece.worker_local]
    assert sum(one.local_backends for one in told) > MIXED[1] * sum(one.sampled_backends for one in told) > 0


@pytest.mark.parametrize("rfs", [True], indirect=True)
def test_a_killed_run_leaves_it_on_and_the_next_one_goes_on_with_it_and_switches_it_off(
    steered: Hosts, tmp_path: Path
) -> None:
    assert flow_steering.NOTE in steered.notes
    setting = MachineSetting("a.setting", tmp_path / "setting", tmp_path / "record")
    setting.file.write_text("0\n")
    harness = [sys.executable, "-c", COMPARE, str(setting.file), str(setting.record), "compare"]
    options = ["--rfs", "--impls", "epoll_raw", "--workloads", "short", "--budget", "0.5s", "--blocks", "1"]
    out = tmp_path / "out"
    killed = _run([*harness, *options, "--out", str(out), "killed"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert setting.file.read_text() == str(flow_steering.ENTRIES)
    [run] = out.iterdir()
    resumed = _run([*harness, "--resume", str(run)])
    assert "harness: error" not in resumed.stderr
    assert "harness: switched off what a run that died has left on: a.setting" in resumed.stderr
    assert "Receive flow steering on the server's host: packets of a connection" in resumed.stdout
    assert results.load(run).plan.rfs
    assert setting.file.read_text().strip() == "0"
    assert not setting.record.exists()


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--testbed", "loopback"), "--rfs: loopback receives where it was sent; give --testbed netns, or leave"),
        ((), "--rfs: receive flow steering cannot be set up here: {}: No such file or directory; it takes root"),
    ],
)
def test_where_it_cannot_be_it_is_refused_before_anything_is_started(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr(flow_steering, "SOCK_FLOW_ENTRIES", MachineSetting("a.setting", missing, missing))
    found = commands.run("compare", "--rfs", "--impls", "epoll_raw", *options, "--out", tmp_path / "out")
    assert found.is_one_line_of_error, found
    assert said.format(missing) in found.err
    assert list(tmp_path.iterdir()) == []
