"""Hosts in namespaces: they reach each other and nobody else, are steered, and go with the harness."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from harness import ports, processes
from harness.loadgen import Generator, Job
from harness.registry import ROOT, find
from harness.schema import PlannedCell
from harness.servers import Server, ServerFailed
from harness.testbed import Testbed as Hosts  # pytest takes what is called Test… for a test
from harness.testbed import open_testbed
from harness.testbed.cpus import mask, parse_mask
from tests import namespaces

ENDS_WITHIN_S = 5.0
NOBODY = 65534
CAP_SYS_ADMIN = 21
OF_THE_KILLED = "PERCORE_TEST_KILLED"
"""An environment variable of all that comes from a harness that is killed."""
MASK_FILE = "sys/class/net/{}/queues/rx-0/rps_cpus"
[REFERENCE] = find("epoll_raw")

HARNESS = """
import json, signal, sys
from pathlib import Path
from harness.loadgen import Generator
from harness.registry import find
from harness.servers import Server
from harness.testbed import open_testbed
with open_testbed("netns", with_backend=True) as testbed, testbed.server.reserve() as address:
    hosts = (testbed.client, testbed.server, testbed.backend)
    one = Server(find("epoll_raw")[0], ["-w", "1"], [address], Path(sys.argv[1]), "one", host=testbed.server)
    with one, Generator(None, testbed.client) as generator, testbed.client.socket() as client:
        one.wait_ready()
        client.settimeout(5)
        client.connect((testbed.server.address, int(address.rpartition(":")[2])))
        client.sendall(b"x")
        pids = [*(host.holder_pid for host in hosts), generator.pid, *one.process_pids()]
        print(json.dumps({"reply": client.recv(999).decode(), "notes": testbed.notes, "pids": pids}), flush=True)
        if "wait" in sys.argv:
            signal.pause()
"""
"""A small harness: arguments are a folder, and ``wait``."""

IMPOSSIBLE = """
import sys
from pathlib import Path
from harness.errors import BadInput
from harness.testbed import namespaces, open_testbed
namespaces.unshare_user()
Path("/proc/sys/user/max_net_namespaces").write_text("0")
with open_testbed("auto", with_backend=False) as testbed:
    print(testbed.name, *testbed.notes)
try:
    open_testbed("netns", with_backend=False).__enter__()
except BadInput as problem:
    print(problem)
"""


@pytest.fixture(scope="module")
def netns() -> Iterator[Hosts]:
    """Open a testbed of namespaces."""
    with ExitStack() as stack:
        yield namespaces.opened(stack)


def counts(testbed: Hosts) -> Counter[str]:
    """Read the TCP counters of all hosts."""
    found: Counter[str] = Counter()
    for host in (testbed.client, testbed.server, testbed.backend):
        names, values = (
            line.split() for line in (host.proc_net / "snmp").read_text().splitlines() if line.startswith("Tcp:")
        )
        found.update({f"{host.name} {name}": int(value) for name, value in zip(names[1:], values[1:], strict=True)})
    return found


def test_load_goes_from_the_client_to_the_server_and_is_seen_by_nobody_else(netns: Hosts, tmp_path: Path) -> None:
    before = counts(netns)
    with (
        netns.server.reserve() as address,
        Server(REFERENCE, ["-w", "1"], [address], tmp_path, "one", host=netns.server) as server,
        Generator(None, netns.client) as generator,
    ):
        server.wait_listening()
        server.wait_ready()
        target = ports.split(address)
        job = Job(
            workload="short", targets=[target], concurrency=4, duration_s=0.05, reply=server.sample_reply(), timeout_s=5
        )
        outcome = generator.run(job, ENDS_WITHIN_S)
    assert target[0] == netns.server.address
    assert outcome.errors == {}
    assert len(outcome.completed_ns) > 0
    # The hosts may have served another test before, since tests are shared out among processes.
    grown = counts(netns) - before
    assert grown["client ActiveOpens"] == len(outcome.completed_ns)
    assert grown["server PassiveOpens"] >= len(outcome.completed_ns)
    assert grown["backend InSegs"] == 0
    # Sockets that are connected again must not show: nothing is reset in between.
    assert grown["client OutRsts"] == grown["server OutRsts"] == 0


def test_two_testbeds_have_the_same_addresses_and_each_its_own_server(netns: Hosts, tmp_path: Path) -> None:
    flags = {"keep": ["-w", "1", "-k"], "close": ["-w", "1"]}
    with open_testbed("netns", with_backend=False) as other, ExitStack() as stack:
        replies = {}
        taken = "10.0.0.2:9999"
        for name, testbed in (("keep", netns), ("close", other)):
            server = Server(REFERENCE, flags[name], [taken], tmp_path, name, host=testbed.server)
            stack.enter_context(server).wait_ready()
            client = stack.enter_context(testbed.client.socket())
            client.settimeout(ENDS_WITHIN_S)
            client.connect(ports.split(taken))
            client.sendall(b"x")
            replies[name] = client.recv(999)
    assert b"Connection: keep-alive" in replies["keep"]
    assert b"Connection: close" in replies["close"]


@pytest.mark.skipif(os.geteuid() != 0, reason="receive steering takes root")
def test_each_host_pays_for_its_own_packets_and_the_server_for_forwarding(netns: Hosts) -> None:
    namespaces.skip_without_steering(netns)
    cpus = sorted(os.sched_getaffinity(0))
    first, last = cpus[0], cpus[-1]
    cell = PlannedCell("proxy", 1, 9, server_cpus=(first,), generator_cpus=(last,), backend_cpus=(first, last))
    netns.steer(cell)
    for host, expected in ((netns.client, {last}), (netns.server, {first}), (netns.backend, {first, last})):
        assert steered(host.holder_pid, "eth0") == expected
    switch = psutil.Process(netns.client.holder_pid).ppid()
    assert [steered(switch, name) for name in ("client", "server", "backend")] == [{first}, set(), {first}]


def steered(holder: int | None, device: str) -> set[int]:
    """Read the CPUs that receive for a device, as they stand in /sys of a process."""
    bits = int(Path(f"/proc/{holder}/root", MASK_FILE.format(device)).read_text().replace(",", ""), 16)
    return {cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1}


def test_a_setting_is_changed_for_one_host_alone(netns: Hosts) -> None:
    name = "net.ipv4.ip_local_port_range"
    before = netns.client.sysctl(name)
    assert before == "1024 65535"
    netns.client.set_sysctl(name, "20000 20099")
    try:
        assert netns.client.sysctl(name) == "20000 20099"
        assert netns.server.sysctl(name) == "10000 65535"
    finally:
        netns.client.set_sysctl(name, before)
    with open_testbed("loopback", with_backend=True) as loopback:
        assert loopback.client.sysctl(name) != ""
        with pytest.raises(OSError, match="settings are left as they are"):
            loopback.client.set_sysctl(name, "20000 20099")
    with pytest.raises(OSError, match="No such file"):
        netns.client.set_sysctl("net.ipv4.no_such_thing", "1")


def test_reserved_addresses_differ(netns: Hosts) -> None:
    with ExitStack() as stack:
        addresses = [stack.enter_context(netns.server.reserve()) for _ in range(20)]
        assert len(set(addresses)) == 20
    with netns.server.reserve() as later:
        assert later not in addresses  # a server without SO_REUSEADDR could not have it yet


def test_loopback_hosts_are_this_machine(tmp_path: Path) -> None:
    with (
        open_testbed("loopback", with_backend=True) as testbed,
        testbed.server.reserve() as address,
        Server(REFERENCE, ["-w", "1"], [address], tmp_path, "one", host=testbed.server) as server,
        testbed.client.socket() as client,
    ):
        server.wait_ready()
        client.connect(ports.split(address))
        testbed.steer(PlannedCell("short", 1, 9, server_cpus=(0,), generator_cpus=(0,)))
        assert (testbed.name, testbed.notes, testbed.backend.holder_pid) == ("loopback", (), None)
        assert (testbed.server.proc_net / "tcp").exists()


def test_who_asks_a_host_that_has_ended_is_told(tmp_path: Path) -> None:
    with open_testbed("auto", with_backend=False) as testbed:
        if testbed.server.holder_pid is None:
            pytest.skip(testbed.notes[0])
        with pytest.raises(RuntimeError, match="without a backend"):
            _ = testbed.backend
        os.kill(testbed.server.holder_pid, signal.SIGKILL)
        assert processes.wait_ended(testbed.server.holder_pid, ENDS_WITHIN_S)
        with pytest.raises(OSError, match="namespace has ended"):
            testbed.server.socket()
        with (
            Server(REFERENCE, [], ["10.0.0.2:80"], tmp_path, "late", host=testbed.server) as server,
            pytest.raises(ServerFailed, match="ended before"),
        ):
            server.wait_ready()


def test_a_killed_harness_leaves_no_process_and_no_namespace(netns: Hosts, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HARNESS, str(tmp_path), "wait"]
    environment = {**os.environ, OF_THE_KILLED: str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as harness:
        try:
            assert harness.stdout is not None
            pids: list[int] = json.loads(harness.stdout.readline())["pids"]
            pids.append(psutil.Process(pids[0]).ppid())
            left = {str(Path(f"/proc/{pid}/ns/net").readlink()) for pid in pids}
        finally:
            harness.kill()
    assert len(left) == 4  # of the three hosts and the switch
    assert all(processes.wait_ended(pid, ENDS_WITHIN_S) for pid in pids)
    mark = f"{OF_THE_KILLED}={tmp_path}"
    assert processes.wait_until(lambda: not left & set(network_namespaces(mark)), ENDS_WITHIN_S)
    assert netns.client.sysctl("net.ipv4.tcp_tw_reuse") == "1"  # another run's are as they were


def network_namespaces(mark: str) -> Iterator[str]:
    """List those of the processes with a mark: the number of one that is gone is another's at once, another test's."""
    for pid in psutil.pids():
        with suppress(OSError):
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield str(Path(f"/proc/{pid}/ns/net").readlink())


def test_who_may_not_make_network_namespaces_makes_them_in_a_user_namespace(netns: Hosts, tmp_path: Path) -> None:
    assert netns.name == "netns"
    without = CAP_SYS_ADMIN if os.geteuid() == 0 else None
    harness = processes.start(
        [sys.executable, "-c", HARNESS, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=None,
        without_capability=without,
    )
    printed, _ = harness.communicate(timeout=20)
    check_unprivileged(printed)


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root is another user already")
def test_another_user_can_use_namespaces_and_is_told_what_they_lack(netns: Hosts) -> None:
    assert netns.name == "netns"
    interpreter = python_for_nobody()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chown(folder, NOBODY, NOBODY)
        check_unprivileged(as_nobody([interpreter, "-c", HARNESS, folder]))


def check_unprivileged(printed: bytes) -> None:
    told = json.loads(printed)
    assert told["reply"].startswith("HTTP/1.0 200 OK")
    assert [note.split(":")[0] for note in told["notes"]] == ["no receive steering"]
    assert all(processes.wait_ended(pid, ENDS_WITHIN_S) for pid in told["pids"])


def as_nobody(command: Sequence[str]) -> bytes:
    path = f"{ROOT}:{sysconfig.get_path('platlib')}"
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    return subprocess.run(
        command,
        cwd="/",
        env=environment,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdout=subprocess.PIPE,
        check=True,
        timeout=100,
    ).stdout


def python_for_nobody() -> str:
    """Find an interpreter that another user may run with these libraries; root's own may be in a folder of root's."""
    for interpreter in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError, subprocess.CalledProcessError):
            as_nobody([interpreter, "-c", "import harness.testbed.links"])
            return interpreter
    pytest.skip("there is no Python that another user may run with these libraries")


def test_where_namespaces_cannot_be_made_it_is_loopback_or_an_error_that_says_why(netns: Hosts) -> None:
    assert netns.name == "netns"
    result = subprocess.run([sys.executable, "-c", IMPOSSIBLE], cwd=ROOT, capture_output=True, text=True, check=True)
    auto, refused = result.stdout.splitlines()
    assert auto.startswith("loopback auto took loopback: network namespaces cannot be made here: unshare: No space")
    assert refused.startswith("--testbed netns: network namespaces cannot be made here: unshare: No space")
    assert refused.endswith("or give --testbed loopback")


@pytest.mark.parametrize(
    ("cpus", "text"),
    [
        ([], "0"),
        ([0], "1"),
        ([1, 3], "a"),
        ([31], "80000000"),
        ([0, 33], "2,00000001"),
        ([95], "80000000,00000000,00000000"),
    ],
)
def test_a_mask_is_written_and_read_in_groups_of_32_bits(cpus: list[int], text: str) -> None:
    assert mask(cpus) == text
    assert list(parse_mask(f"{text}\n")) == cpus
