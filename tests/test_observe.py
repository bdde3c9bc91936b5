"""What is read of the kernel about processes, CPUs and hosts; other tests load the machine meanwhile."""

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import observe, processes
from harness.observe import TICK_NS, CpuClock, CpuTime
from harness.schema import ClientPorts, CpuUse, TcpCounts
from harness.snapshot import BackendEnded, Snapshot, Subject
from tests.held_worker import held

CPU = min(os.sched_getaffinity(0))
WITHIN_S = 60.0
"""So long may a spinning process have to wait for its turns."""
OWN_NET = Path("/proc/self/net")
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm MaxConn CurrEstab InSegs OutSegs RetransSegs InErrs
Tcp: 1 -1 3 700 900 5 0
Udp: InDatagrams
Udp: 77
"""
NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPReqQFullDrop
TcpExt: 1 20 30 4
IpExt: InNoRoutes
IpExt: 9
"""
SOCKSTAT = """\
sockets: used 251
TCP: inuse 40 orphan 0 tw 60 alloc 45 mem 1
UDP: inuse 2 mem 0
"""


@contextmanager
def child(code: str) -> Iterator[int]:
    """Run some Python on CPU until the end; it has all that it takes to start behind it when it has written a line."""
    command = [sys.executable, "-I", "-S", "-c", f"import signal, time\nprint('up', flush=True)\n{code}"]
    process = processes.start(command, cwd=None, stdout=subprocess.PIPE, stderr=None, cpus=[CPU])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def ended() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


def write(folder: Path, **tables: str) -> Path:
    for name, text in tables.items():
        (folder / name).write_text(text)
    return folder


def test_a_process_that_spins_has_its_cpu_busy_and_one_that_waits_takes_nothing() -> None:
    wanted_ns = 200_000_000
    with child("while True: pass") as spinning, child("signal.pause()") as waiting:

        def times() -> list[CpuTime]:
            with held(spinning):  # else it would go on between one figure and the next
                return [observe.cpu_time([pid]) for pid in (spinning, waiting)]

        def use_so_far() -> CpuUse:
            return observe.cpu_use(clocks[CPU], observe.cpu_clocks([CPU])[CPU], CPU)

        def has_spun() -> bool:
            spun_ns = observe.cpu_time([spinning]).total_ns - before[0].total_ns
            # The kernel looks only at each tick what the CPU is doing.
            return spun_ns >= wanted_ns and use_so_far().user_ns >= wanted_ns * 0.5

        clocks, before = observe.cpu_clocks([CPU]), times()
        assert processes.wait_until(has_spun, WITHIN_S)
        spun, waited = (now - earlier for now, earlier in zip(times(), before, strict=True))
        use = use_so_far()
    assert use.cpu == CPU
    assert wanted_ns * 0.9 <= use.busy_ns <= use.span_ns
    assert use.user_ns >= wanted_ns * 0.5
    assert waited.total_ns < wanted_ns * 0.1
    assert spun.user_ns + spun.system_ns == pytest.approx(spun.total_ns, abs=10 * TICK_NS, rel=0.3)


def test_what_a_cpu_did_is_the_same_by_its_idle_states_and_by_its_ticks() -> None:
    """Half of the time, so that neither of them can be right by always telling the same."""
    half = "while True:\n time.sleep(0.03); until_s = time.monotonic() + 0.03\n while time.monotonic() < until_s: pass"

    def difference() -> float:
        """Look at the same time by both, unless something comes between one and the other."""
        before = observe.cpu_clocks([CPU])[CPU]
        processes.wait_until(lambda: False, 0.3)
        after = observe.cpu_clocks([CPU])[CPU]
        exact = observe.cpu_use(before, after, CPU)
        without = CpuClock(before.at_ns, None, before.ticks), CpuClock(after.at_ns, None, after.ticks)
        ticks = observe.cpu_use(*without, CPU)
        return abs(exact.busy_ns - ticks.busy_ns) / exact.span_ns

    with child(half):
        differences = [difference() for _ in range(5)]
    assert statistics.median(differences) <= 0.3, differences


def test_the_use_of_a_cpu_is_told_by_its_idle_states_where_it_has_them() -> None:
    before = CpuClock(1_000, 500, (1, 1, 1, 1, 1, 1, 1, 1))
    after = CpuClock(1_000 + 100 * TICK_NS, 500 + 40 * TICK_NS // 1000, (11, 2, 21, 41, 2, 3, 28, 6))
    use = observe.cpu_use(before, after, 3)
    assert (use.cpu, use.span_ns, use.busy_ns) == (3, 100 * TICK_NS, 60 * TICK_NS)
    parts = (use.user_ns, use.system_ns, use.softirq_ns, use.idle_ns, use.steal_ns)
    assert [part // TICK_NS for part in parts] == [11, 20, 29, 41, 5]
    without = observe.cpu_use(CpuClock(1_000, None, before.ticks), CpuClock(after.at_ns, None, after.ticks), 3)
    assert without.busy_ns == 59 * TICK_NS


def test_ticks_that_count_backwards_are_none() -> None:
    use = observe.cpu_use(CpuClock(0, None, (9,) * 8), CpuClock(5, None, (8,) * 8), 0)
    assert use.busy_ns == 5
    assert {use.user_ns, use.system_ns, use.softirq_ns, use.idle_ns, use.steal_ns} == {0}


def test_who_reads_clocks_stays_where_it_may_be() -> None:
    allowed = os.sched_getaffinity(0)
    assert list(observe.cpu_clocks(sorted(allowed))) == sorted(allowed)
    assert os.sched_getaffinity(0) == allowed
    with pytest.raises(OSError, match="Invalid argument"):
        observe.cpu_clocks([CPU, 8000])
    assert os.sched_getaffinity(0) == allowed


def test_context_switches_tell_who_waits_and_who_is_interrupted() -> None:
    with child("while True: time.sleep(0.001)") as waiting:
        before = observe.context_switches([waiting])

        def has_waited() -> bool:
            return observe.context_switches([waiting]).voluntary >= before.voluntary + 20

        assert processes.wait_until(has_waited, WITHIN_S)
        both = observe.context_switches([waiting, os.getpid()])
        assert both.voluntary > observe.context_switches([os.getpid()]).voluntary
    # Two that spin on one CPU take it from each other.
    with child("while True: pass") as spinning, child("while True: pass"):
        before = observe.context_switches([spinning])
        assert processes.wait_until(
            lambda: observe.context_switches([spinning]).involuntary >= before.involuntary + 5, WITHIN_S
        )


def test_resident_memory_is_what_was_touched() -> None:
    size = 40_000_000
    with child("signal.pause()") as small:
        before = observe.resident_bytes([small])
    with child(f"kept = b'x' * {size}; signal.pause()") as large:
        assert processes.wait_until(lambda: observe.resident_bytes([large]) > before + 0.9 * size, WITHIN_S)
        assert observe.resident_bytes([large]) < before + 1.5 * size
        assert observe.resident_bytes([large, large]) > 1.9 * observe.resident_bytes([large])


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    gone = ended()
    for read in (observe.cpu_time, observe.context_switches, observe.resident_bytes):
        with pytest.raises(ProcessLookupError, match=f"process {gone} has ended"):
            read([os.getpid(), gone])


def test_a_process_whose_status_nobody_fetched_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    try:
        assert processes.wait_ended(process.pid, WITHIN_S)
        with pytest.raises(ProcessLookupError, match="has ended"):
            observe.cpu_time([process.pid])
    finally:
        process.wait()


def test_tcp_counters_are_found_by_their_names(tmp_path: Path) -> None:
    counts = observe.tcp_counts(write(tmp_path, snmp=SNMP, netstat=NETSTAT))
    assert counts == TcpCounts(segments_in=700, segments_out=900, retransmitted=5, listen_overflows=20, listen_drops=30)


def test_a_connection_is_seen_in_the_counters_of_this_machine() -> None:
    before = observe.tcp_counts(OWN_NET)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()
    after = observe.tcp_counts(OWN_NET)
    assert after.segments_out - before.segments_out >= 3
    assert after.segments_in - before.segments_in >= 3


def test_a_full_accept_queue_is_seen() -> None:
    before = observe.tcp_counts(OWN_NET)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(6)]
        for each in waiting:
            each.setblocking(False)  # noqa: FBT003  as the library has it
            each.connect_ex(listener.getsockname())

        def has_overflowed() -> bool:
            counts = observe.tcp_counts(OWN_NET)
            return counts.listen_drops > before.listen_drops

        assert processes.wait_until(has_overflowed, WITHIN_S)
        for each in waiting:
            each.close()


def test_ports_that_are_left_are_those_that_no_socket_holds(tmp_path: Path) -> None:
    folder = write(tmp_path, sockstat=SOCKSTAT)
    assert observe.client_ports(folder, 1000) == ClientPorts(time_wait=60, left=900)
    assert observe.client_ports(folder, 50) == ClientPorts(time_wait=60, left=0)
    own = observe.client_ports(OWN_NET, 28_000)
    assert 0 <= own.left <= max(0, 28_000 - own.time_wait)


def test_a_snapshot_tells_what_happened_since_one_before() -> None:
    with child("while True: pass") as spinning, child("signal.pause()") as backend:
        subject = Subject([spinning], [backend], [CPU], OWN_NET)
        before = Snapshot.before(subject)
        assert before is not None

        def has_spun() -> bool:
            return (observe.cpu_time([spinning]) - before.server).total_ns > 20_000_000

        assert processes.wait_until(has_spun, WITHIN_S)
        after = Snapshot.after(subject)
        assert after is not None
        seen = before.until(after)
    assert seen.server.total_ns > 20_000_000 > seen.backend.total_ns
    assert [use.cpu for use in seen.cpus] == [CPU]
    assert seen.cpus[0].busy_ns > 10_000_000
    assert after.resident_bytes > 1_000_000
    assert seen.switches.involuntary >= 0
    assert seen.tcp.segments_in >= 0


def test_a_snapshot_says_who_has_ended() -> None:
    gone = ended()
    ours = Subject([gone], [], [CPU], OWN_NET)
    assert Snapshot.before(ours) is None
    assert Snapshot.after(ours) is None
    backends = Subject([os.getpid()], [gone], [CPU], OWN_NET)
    for take in (Snapshot.before, Snapshot.after):
        with pytest.raises(BackendEnded, match="the backend has ended, or a worker of it"):
            take(backends)


def test_no_process_takes_no_time() -> None:
    assert observe.cpu_time([]) == CpuTime(0, 0, 0)
