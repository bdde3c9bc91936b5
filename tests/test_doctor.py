"""harness doctor: each setting that spoils measurements is seen, told apart, and mended by the command beside it."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from harness import json_schema
from harness.doctor import command, page
from harness.doctor.check import Check, Finding
from harness.doctor.checks import AREAS
from harness.doctor.limits import CAP_SYS_RESOURCE
from harness.doctor.netfilter import Ruleset
from harness.doctor.system import Roles
from harness.doctor.watch import Look, Watched
from harness.doctor_schema import Diagnosis
from harness.machine_files import MachineFiles
from harness.nic.interrupts import Interrupt
from harness.nic.netlink import Channels
from harness.nic.queues import RxQueue, TxQueue
from harness.registry import ROOT
from harness.report import doctor as report
from harness.schema import Cell
from tests.commands import run
from tests.made_machine import NIC, Files, make

CHECKS: dict[str, Check] = {check.id: check for area in AREAS for check in area.checks}
CPU = "/sys/devices/system/cpu"
CLOCK = "/sys/devices/system/clocksource/clocksource0"
IPV4 = "/proc/sys/net/ipv4"
BASH = "/bin/bash"
LOOPBACK = {"testbed": "loopback", "names_devices": False}
NO_NETNS: dict[str, object] = {"testbed": "loopback", "testbed_notes": ("because",)}
NOT_ROOT = {"/proc/self/status": "Uid:\t7\t7\t7\t7"}


class Spoilt(NamedTuple):
    """A machine with something that is not as it should be."""

    id: str
    state: str
    found: str
    """A part of what is said."""
    files: Files = {}  # noqa: RUF012  never changed
    others: dict[str, object] = {}  # noqa: RUF012  never changed
    mend: str = ""
    """A part of the command; empty where there is none."""


def card(**changed: object) -> dict[str, object]:
    return {"devices": (dataclasses.replace(NIC, **changed),)}  # type: ignore[arg-type]


def busy(share: float, *programs: tuple[str, float]) -> dict[str, object]:
    return {"watched": Watched(busy={0: share, 3: 0.0}, programs=programs)}


def steal(share: float, *, known: bool = True) -> dict[str, object]:
    return {"watched": Watched(steal={0: 0.0, 1: share}, knows_steal=known)}


FILES_MEND = [
    Spoilt("cpu.governor", "problem", "performance (CPU 0,2-3), powersave (CPU 1)",
           {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, mend="echo performance"),
    Spoilt("cpu.governor", "warning", "by hand", {f"{CPU}/cpu1/cpufreq/scaling_governor": "userspace"},
           mend="echo performance"),
    Spoilt("cpu.turbo", "warning", "on", {f"{CPU}/cpufreq/boost": "1"}, mend="echo 0"),
    Spoilt("cpu.turbo", "warning", "on", {f"{CPU}/intel_pstate/no_turbo": "0"}, mend="echo 1"),
    Spoilt("cpu.idle", "warning", "C6 takes 133 µs to leave", {f"{CPU}/cpu3/cpuidle/state1/disable": "0"},
           mend="echo 1"),
    Spoilt("cpu.clock", "problem", "hpet", {f"{CLOCK}/current_clocksource": "hpet"}, mend="echo tsc"),
    Spoilt("cpu.quota", "problem", "1.5 CPUs, and the sides need 4", {"/sys/fs/cgroup/own/cpu.max": "150000 100000"},
           mend="echo max > /sys/fs/cgroup/own/cpu.max"),
    Spoilt("cpu.quota", "warning", "4 CPUs, of 8", {"/sys/fs/cgroup/own/cpu.max": "400000 100000"},
           {"allowed": range(8)}, mend="echo max"),
    Spoilt("cpu.quota", "problem", "0.5 CPUs", {
        "/proc/self/cgroup": "4:cpu,cpuacct:/docker/own/in",
        "/proc/self/mountinfo": "3 2 0:2 /docker/own /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/cpu/in/cpu.cfs_quota_us": "-1", "/sys/fs/cgroup/cpu/in/cpu.cfs_period_us": "100000",
    }, mend="echo -1 > /sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Spoilt("memory.huge_pages", "warning", "always", {"/sys/kernel/mm/transparent_hugepage/enabled": "[always] never"},
           mend="echo madvise"),
]  # fmt: skip
"""What a command mends by writing files."""

SETTINGS_MEND = [
    Spoilt("limits.ports", "warning", "10,001", {f"{IPV4}/ip_local_port_range": "50000 60000"}, mend="sysctl -w"),
    Spoilt("limits.ports", "problem", "1,000 (60000 to 60999)", {f"{IPV4}/ip_local_port_range": "60000 60999"},
           {"load": Cell("proxy", 1, 100, idle=1000)}, mend="sysctl -w"),
    Spoilt("limits.ports", "warning", "25,536 (40000 to 65535)", {f"{IPV4}/ip_local_port_range": "40000 65535"},
           mend="'16384 65535'"),
    Spoilt("limits.ports", "problem", "and 40,000 connections are to be open", {
        f"{IPV4}/ip_local_port_range": "1024 20000"}, {"load": Cell("proxy", 1, 40_000)}, mend="'1024 65535'"),
    Spoilt("limits.tw_reuse", "warning", "is 0", {f"{IPV4}/tcp_tw_reuse": "0"}, LOOPBACK, mend="sysctl -w"),
    Spoilt("limits.tw_reuse", "warning", "loopback alone", {f"{IPV4}/tcp_tw_reuse": "2"}, mend="sysctl -w"),
    Spoilt("limits.tw_reuse", "warning", "tcp_timestamps", {f"{IPV4}/tcp_timestamps": "0"}, mend="sysctl -w"),
    Spoilt("limits.accept_queue", "problem", "is 64", {"/proc/sys/net/core/somaxconn": "64"}, mend="sysctl -w"),
    Spoilt("limits.syn_queue", "problem", "is 128, without SYN cookies",
           {f"{IPV4}/tcp_max_syn_backlog": "128", f"{IPV4}/tcp_syncookies": "0"}, mend="sysctl -w"),
    Spoilt("limits.syn_queue", "warning", "tests of cookies", {f"{IPV4}/tcp_syncookies": "2"}, mend="sysctl -w"),
]  # fmt: skip
"""What a command mends in a network namespace."""

OTHERS = [
    Spoilt("cpu.clock", "problem", "acpi_pm, and there is no faster one", {
        f"{CLOCK}/current_clocksource": "acpi_pm", f"{CLOCK}/available_clocksource": "acpi_pm"}),
    Spoilt("cpu.clock", "warning", "timer7", {f"{CLOCK}/current_clocksource": "timer7"}, mend="echo tsc"),
    Spoilt("cpu.isolation", "warning", "isolcpus has CPU 1 of the server's, and not CPU 0", {f"{CPU}/isolated": "1-2"}),
    Spoilt("cpu.isolation", "warning", "nohz_full has CPU 0-1 of the server's", {f"{CPU}/nohz_full": "0-3"}),
    Spoilt("cpu.places", "problem", "CPU 1 has server and client",
           others={"roles": Roles(server=(0, 1), client=(1,), backend=(1,))}),
    Spoilt("cpu.places", "warning", "client and backend share",
           others={"roles": Roles(server=(0, 1), client=(2,), backend=(2,))}),
    Spoilt("cpu.threads", "problem", "CPU 0 of the server's shares its core with another side's CPU",
           {f"{CPU}/cpu{cpu}/topology/thread_siblings_list": "0,2" for cpu in (0, 2)}, mend="smt/control"),
    Spoilt("cpu.threads", "warning", "CPU 0-1 of the server's are hyper-threads of the same cores",
           {f"{CPU}/cpu{cpu}/topology/thread_siblings_list": "0-1" for cpu in (0, 1)}, mend="smt/control"),
    Spoilt("cpu.nodes", "warning", "in nodes 0-1", {
        "/sys/devices/system/node/node0/cpulist": "0,2", "/sys/devices/system/node/node1/cpulist": "1,3"}),
    Spoilt("cpu.nodes", "warning", "moves pages", {
        "/sys/devices/system/node/node0/cpulist": "0-1", "/sys/devices/system/node/node1/cpulist": "2-3",
        "/proc/sys/kernel/numa_balancing": "1"}, mend="sysctl -w kernel.numa_balancing=0"),
    Spoilt("cpu.mitigations", "warning", "meltdown", {f"{CPU}/vulnerabilities/meltdown": "Mitigation: PTI"},
           mend="mitigations=off"),
    *(Spoilt("cpu.mitigations", "warning", "spectre_v2", {f"{CPU}/vulnerabilities/spectre_v2": line},
             mend="mitigations=off") for line in (
        "Mitigation: IBRS; IBPB: conditional; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected",
        "Mitigation: Retpolines; IBPB: always-on; STIBP: forced; RSB filling; BHI: Not affected",
        "Mitigation: IBPB; SMT disabled",
        "Mitigation: safe RET",
        "Mitigation: Clear CPU buffers; SMT vulnerable",
    )),
    *(Spoilt("cpu.mitigations", "ok", "none that makes", {f"{CPU}/vulnerabilities/spectre_v2": line}) for line in (
        "Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: Not affected",
        "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; STIBP: always-on; RSB filling",
        "Mitigation: IBPB before exit to userspace",
        "Vulnerable; IBPB: disabled; STIBP: disabled; PBRSB-eIBRS: Not affected; BHI: Not affected",
        "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable",
    )),
    Spoilt("cpu.virtual", "warning", "yes", {"/proc/cpuinfo": "flags : fpu hypervisor"}),
    Spoilt("cpu.virtual", "warning", "yes (QEMU", {"/sys/class/dmi/id/sys_vendor": "QEMU"}),
    Spoilt("cpu.virtual", "ok", "no (Amazon EC2 c5.metal)", {
        "/sys/class/dmi/id/sys_vendor": "Amazon EC2", "/sys/class/dmi/id/product_name": "c5.metal"}),
    Spoilt("cpu.virtual", "warning", "yes (xen)", {
        "/sys/hypervisor/type": "xen", "/sys/class/dmi/id/sys_vendor": None,
        "/sys/class/dmi/id/product_name": None}),
    Spoilt("load.busy", "problem", "CPU 0 was 80 % busy, most by make (60 %) and cc1 (20 %)",
           others=busy(0.8, ("make", 0.6), ("cc1", 0.2), ("sshd", 0.001))),
    Spoilt("load.busy", "warning", "CPU 0 was 10 % busy", others=busy(0.1)),
    Spoilt("load.steal", "problem", "the host gave 20 %", others=steal(0.2)),
    Spoilt("load.steal", "warning", "the host gave 3 %", others=steal(0.03)),
    Spoilt("load.steal", "unknown", "may not tell", {"/proc/cpuinfo": "flags : hypervisor"}, steal(0.0, known=False)),
    Spoilt("load.busy", "ok", "CPU 0 was 1 % busy; load average 0.52", {"/proc/loadavg": "0.52 0.4 0.3 1/99 7"}),
    Spoilt("cpu.threads", "warning", "CPU 3 of the backend's shares its core with the client's",
           {f"{CPU}/cpu{cpu}/topology/thread_siblings_list": "2-3" for cpu in (2, 3)}, mend="smt/control"),
    Spoilt("memory.free", "problem", "6,836 MiB free; the load takes about 30,603", others={
        "load": Cell("proxy", 2, 100, idle=976_000)}),
    Spoilt("memory.free", "problem", "100 MiB", {"/proc/meminfo": "MemAvailable: 102400 kB"}),
    Spoilt("memory.free", "warning", "800 MiB", {"/proc/meminfo": "MemAvailable: 819200 kB"}),
    Spoilt("memory.swap", "problem", "7 pages", others={"watched": Watched(swapped_pages=7)}, mend="swapoff -a"),
    Spoilt("memory.swap", "ok", "2 MiB are in it", {"/proc/swaps": "Filename\n/dev/vdb partition 4096 2048 -2"}),
    Spoilt("irq.balance", "warning", "is running", {"/proc/7/comm": "irqbalance"}, mend="systemctl stop irqbalance"),
    Spoilt("nic.link", "problem", "is down", others=card(is_up=False), mend="ip link set dev card0 up"),
    Spoilt("nic.link", "warning", "100 Mbit/s", others=card(speed_mbps=100)),
    Spoilt("nic.queues", "warning", "1 receive queue for 2 CPUs of the server's; it can have 8",
           others=card(rx=NIC.rx[:1], channels=Channels(combined=1, max_combined=8)), mend="harness tune --nic card0"),
    Spoilt("nic.queues", "ok", "all that it can have", others=card(rx=NIC.rx[:1], channels=None)),
    Spoilt("nic.interrupts", "warning", "2 interrupts on CPU 0, and the server has CPU 0-1",
           others=card(interrupts=tuple(Interrupt(40 + queue, f"q{queue}", queue, (0,)) for queue in (0, 1))),
           mend="harness tune"),
    Spoilt("nic.interrupts", "warning", "41 may go to CPU 0-3",
           others=card(interrupts=(Interrupt(41, "q0", 0, (0, 1, 2, 3)), Interrupt(42, "q1", 1, (1,)))),
           mend="harness tune"),
    Spoilt("nic.interrupts", "warning", "2 interrupts on CPU 2-3, and the server has CPU 0-1",
           others=card(interrupts=tuple(Interrupt(40 + queue, f"q{queue}", queue, (2 + queue,)) for queue in (0, 1))),
           mend="harness tune --nic card0 --cpus 0-1"),
    Spoilt("nic.interrupts", "warning", "41 may go to CPU 0-3",
           others=card(interrupts=(Interrupt(41, "card0", 0, (0, 1, 2, 3)),)), mend="harness tune"),
    Spoilt("nic.interrupts", "ok", "2 interrupts on CPU 1", others=card(interrupts=(
        Interrupt(41, "virtio2-input.0", 0, (1,)), Interrupt(42, "virtio2-output.0", 0, (1,))))),
    Spoilt("nic.interrupts", "unknown", "shows no interrupts", others=card(interrupts=())),
    Spoilt("nic.rps", "warning", "off, with 1 queue: not to CPU 0-1", others=card(rx=NIC.rx[:1]), mend="harness tune"),
    Spoilt("nic.rps", "ok", "to CPU 0-3", others=card(rx=(RxQueue(0, (0, 1, 2, 3), 0),))),
    Spoilt("nic.rps", "warning", "with a queue for each CPU", others=card(rx=(NIC.rx[0], RxQueue(1, (0, 1), 0))),
           mend="harness tune"),
    Spoilt("nic.rps", "ok", "to CPU 0-3", others=card(rx=tuple(RxQueue(queue, (0, 1, 2, 3), 0) for queue in (0, 1)))),
    Spoilt("nic.rfs", "warning", "half on", {"/proc/sys/net/core/rps_sock_flow_entries": "32768"}, mend="--rfs"),
    Spoilt("nic.rfs", "unknown", "not to be seen", {"/proc/sys/net/core/rps_sock_flow_entries": None},
           card(rx=(RxQueue(0, (), 4096), RxQueue(1, (), 4096)))),
    Spoilt("nic.xps", "warning", "CPU 1 of the server's has no queue",
           others=card(tx=(TxQueue(0, (0,)), TxQueue(1, ()))), mend="harness tune"),
    Spoilt("nic.coalescing", "warning", "adaptive-rx on", others=card(coalescing={"adaptive-rx": 1}),
           mend="harness tune"),
    Spoilt("nic.coalescing", "warning", "rx-usecs 500", others=card(coalescing={"rx-usecs": 500}), mend="harness tune"),
    Spoilt("nic.coalescing", "ok", "its driver has none", others=card(coalescing={})),
    Spoilt("nic.node", "warning", "is at node 1, CPU 0-1 of the server's is not",
           {"/sys/devices/system/node/node1/cpulist": "2-3"}, card(numa_node=1)),
    Spoilt("firewall.conntrack", "problem", "900 connections, and 1,000 can be", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "900", "/proc/sys/net/netfilter/nf_conntrack_max": "1000"},
        mend="notrack"),
    Spoilt("firewall.conntrack", "warning", "9 connections", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "9", "/proc/sys/net/netfilter/nf_conntrack_max": "1000"},
        mend="notrack"),
    Spoilt("firewall.conntrack", "warning", "0 connections, and 1,000 can be; rules ask for it", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "0", "/proc/sys/net/netfilter/nf_conntrack_max": "1000"},
        {"ruleset": Ruleset(1, 1, ("inet filter",), tracks=True)}, mend="iif 7 tcp dport 10000-32767 notrack"),
    Spoilt("firewall.conntrack", "warning", "1 connection, ", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "1"}, LOOPBACK, mend="iif 1 tcp sport"),
    Spoilt("firewall.conntrack", "warning", "rules ask for it", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "0", "/proc/net/ip_tables_names": "nat"}, mend="notrack"),
    Spoilt("firewall.conntrack", "unknown", "only root", {
        "/proc/sys/net/netfilter/nf_conntrack_count": "0"}, {"ruleset": None}),
    Spoilt("firewall.conntrack", "ok", "left out", {"/proc/sys/net/netfilter/nf_conntrack_count": "9"},
           {"ruleset": Ruleset(untracked=(7,), tracks=True)}),
    Spoilt("firewall.conntrack", "ok", "no rule asks for it", {"/proc/sys/net/netfilter/nf_conntrack_count": "0"}),
    Spoilt("firewall.nf_tables", "warning", "0 rules in inet filter",
           others={"ruleset": Ruleset(1, 0, ("inet filter",))}, mend="nft flush ruleset"),
    Spoilt("firewall.nf_tables", "problem", "inet filter input drops all",
           others={"ruleset": Ruleset(1, 0, ("inet filter",), ("inet filter input",))}, mend="nft flush ruleset"),
    Spoilt("firewall.nf_tables", "warning", "12 rules in inet filter",
           others={"ruleset": Ruleset(1, 12, ("inet filter",))}, mend="nft flush ruleset"),
    Spoilt("firewall.nf_tables", "ok", "12 rules in inet filter; hosts of the testbed netns are not concerned",
           others={"ruleset": Ruleset(1, 12, ("inet filter",)), "names_devices": False}),
    Spoilt("firewall.nf_tables", "unknown", "root", others={"ruleset": None}),
    Spoilt("firewall.ip_tables", "warning", "raw (iptables-legacy)", {"/proc/net/ip_tables_names": "raw"},
           mend="iptables-legacy -t raw -P OUTPUT ACCEPT && iptables-legacy -t raw -F"),
    Spoilt("firewall.ip_tables", "warning", "filter (ip6tables-legacy)", {
        "/proc/net/ip6_tables_names": "filter", "/sys/module/ip6table_filter/refcnt": "1"},
        mend="ip6tables-legacy -t filter -X && modprobe -r ip6table_filter"),
    Spoilt("firewall.bridge", "warning", "net.bridge.bridge-nf-call-iptables: 1", {
        "/proc/sys/net/bridge/bridge-nf-call-iptables": "1", "/sys/class/net/br0/bridge/bridge_id": "8"},
        mend="sysctl -w net.bridge.bridge-nf-call-iptables=0"),
    Spoilt("firewall.bridge", "warning", "the testbed's switch", {
        "/proc/sys/net/bridge/bridge-nf-call-iptables": "0", "/sys/module/br_netfilter/refcnt": "0"},
        {"names_devices": False}, mend="modprobe -r br_netfilter"),
    Spoilt("limits.root", "warning", "no", NOT_ROOT),
    Spoilt("limits.ports", "problem", "no range has 70,000: the client needs more addresses",
           others={"load": Cell("proxy", 1, 70_000)}),
    Spoilt("limits.open_files", "ok", "524,288 for a process"),
    Spoilt("limits.namespaces", "warning", "because", {"/proc/sys/user/max_user_namespaces": "0"}, NO_NETNS,
           mend="sysctl -w user.max_user_namespaces=10000"),
    Spoilt("limits.namespaces", "warning", "because", {
        **NOT_ROOT, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
        "/proc/sys/user/max_user_namespaces": "15000"}, NO_NETNS,
        mend="sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    Spoilt("limits.namespaces", "warning", "because", {
        **NOT_ROOT, "/proc/sys/kernel/unprivileged_userns_clone": "0", "/proc/sys/user/max_net_namespaces": "0"},
        NO_NETNS, mend="sysctl -w kernel.unprivileged_userns_clone=1 user.max_net_namespaces=10000"),
    Spoilt("limits.namespaces", "problem", "because", {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, {**NO_NETNS, "wants_netns": True}),
    Spoilt("limits.open_files", "problem", "256 for a process, which needs 400",
           {"/proc/self/limits": "Max open files 256 256 files"}, mend="ulimit -Hn 400"),
    Spoilt("limits.open_files", "ok", "raises it by itself", {
        "/proc/self/limits": "Max open files 256 256 files",
        "/proc/self/status": f"Uid:\t0\t0\t0\t0\nCapEff:\t{1 << CAP_SYS_RESOURCE:016x}"}),
    Spoilt("limits.open_files", "problem", "which needs 2,000,200", {
        "/proc/self/status": f"Uid:\t0\t0\t0\t0\nCapEff:\t{1 << CAP_SYS_RESOURCE:016x}"},
        {"load": Cell("proxy", 1, 1_000_000)}, mend="sysctl -w fs.nr_open=2000200 && ulimit -Hn 2000200"),
    Spoilt("limits.packet_queue", "problem", "5 packets were dropped", others={"watched": Watched(dropped_packets=5)},
           mend="sysctl -w net.core.netdev_max_backlog=2000"),
    Spoilt("limits.packet_queue", "warning", "3,000 packets", others={"load": Cell("proxy", 1, 1000)}, mend="=3000"),
    Spoilt("limits.perf", "warning", "is 2", {
        "/proc/self/status": "Uid:\t7\t7\t7\t7", "/proc/sys/kernel/perf_event_paranoid": "2"}, mend="sysctl -w"),
    Spoilt("tools.wrk", "warning", "is not installed", others={"programs": {}}, mend="apt-get install -y wrk"),
]  # fmt: skip
"""What no test can mend."""

ALL = [*FILES_MEND, *SETTINGS_MEND, *OTHERS]
PROBLEMS_AND_WARNINGS = {case.id for case in ALL if case.state in {"problem", "warning"}}


def name(case: Spoilt) -> str:
    return f"{case.id}-{case.found[:12]}"


def look(case: Spoilt, root: Path) -> Finding:
    [finding] = CHECKS[case.id].findings(make(root, case.files, case.others))
    return finding


def test_a_machine_that_is_as_it_should_be(tmp_path: Path) -> None:
    found = command.diagnose(make(tmp_path))
    assert {one.id: one.found for one in found.checks if one.state != "ok"} == {}
    assert {one.id for one in found.checks} == CHECKS.keys()


@pytest.mark.parametrize("case", ALL, ids=name)
def test_a_machine_that_is_not_is_told_so(case: Spoilt, tmp_path: Path) -> None:
    finding = look(case, tmp_path)
    assert finding.state == case.state
    assert case.found in finding.found
    assert case.mend in (finding.mend or "")
    assert bool(case.mend) == bool(finding.mend)


def test_each_check_can_find_something() -> None:
    assert CHECKS.keys() - {f"tools.{tool}" for tool in ("ab", "perf", "strace", "nginx", "haproxy", "gcc")} == (
        PROBLEMS_AND_WARNINGS
    )


def test_what_a_kernel_hides_is_not_called_right(tmp_path: Path) -> None:
    """Of a machine without a single file."""
    system = dataclasses.replace(make(tmp_path / "full"), files=MachineFiles(tmp_path), ruleset=None, watched=Watched())
    hidden = {one.id for one in command.diagnose(system).checks if one.state == "unknown"}
    assert hidden >= {
        "cpu.governor", "cpu.turbo", "cpu.idle", "cpu.clock", "cpu.threads", "cpu.quota", "cpu.mitigations",
        "cpu.virtual", "load.busy", "load.steal", "memory.free", "firewall.nf_tables", "limits.open_files",
        "limits.ports", "limits.tw_reuse", "limits.accept_queue", "limits.syn_queue", "limits.packet_queue",
    }  # fmt: skip


@pytest.mark.parametrize("case", [case for case in ALL if case.mend], ids=name)
def test_what_mends_is_a_shell_s_line(case: Spoilt, tmp_path: Path) -> None:
    mend = look(case, tmp_path).mend or ""
    assert "\n" not in mend
    checked = subprocess.run([BASH, "-n"], input=mend, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("case", FILES_MEND, ids=name)
def test_what_mends_files_does(case: Spoilt, tmp_path: Path) -> None:
    mend = look(case, tmp_path).mend or ""
    subprocess.run([BASH, "-c", mend.replace("/sys/", f"{tmp_path}/sys/")], check=True, stdout=subprocess.DEVNULL)
    [mended] = CHECKS[case.id].findings(dataclasses.replace(make(tmp_path / "other"), files=MachineFiles(tmp_path)))
    assert (mended.state, mended.mend) == ("ok", None)


def test_what_mends_settings_of_the_network_does(tool: Callable[[str, str], str]) -> None:
    """With the real files of the kernel and the real sysctl(8)."""
    tool("sysctl", "procps")
    printed = in_a_network_of_its_own(tool, sys.executable, "-m", "tests.mended_settings")
    assert json.loads(printed) == [["ok", None]] * len(SETTINGS_MEND)


def in_a_network_of_its_own(tool: Callable[[str, str], str], *arguments: str) -> str:
    """Run a command in a network namespace, as its root, and return what it printed."""
    unshare = [tool("unshare", "util-linux"), "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")
    done = subprocess.run([*unshare, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_process_that_changes_its_name_has_not_worked_since_its_start_nor_one_that_has_another_s_number(
    tmp_path: Path,
) -> None:
    looks = []
    for moment, (stats, idle) in enumerate([
        ({42: ("kworker/0:1-events", 9000, 5), 43: ("old", 9000, 6)}, 1000),
        ({42: ("kworker/0:1-mm", 9001, 5), 43: ("new", 30, 7)}, 1100),
    ]):  # fmt: skip
        files = {"stat": f"cpu0 0 0 0 {idle} 0 0 0 0\n"}
        for pid, (called, ticks, start) in stats.items():
            files[f"{pid}/stat"] = f"{pid} ({called}) S {' '.join(['0'] * 10)} {ticks} 0 0 0 0 0 0 0 {start} 0\n"
        for path, text in files.items():
            (tmp_path / f"{moment}/proc" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"{moment}/proc" / path).write_text(text)
        looks.append(Look.take(MachineFiles(tmp_path / f"{moment}")))
    assert Watched.between(*looks).programs == [("new", 0.3), ("kworker/0:1-mm", 0.01)]


def test_a_moment_is_watched(tmp_path: Path) -> None:
    """Of two looks: CPU 0 worked for half of the second and waited for a fifth, CPU 1 slept."""
    looks = []
    for number, (cpu0, ticks, swapped, dropped) in enumerate(
        [("100 0 0 900 0 0 0 0", 300, 3, "0000000a"), ("150 0 0 930 0 0 0 20", 350, 7, "0000000c")]
    ):
        root = tmp_path / f"{number}"
        stat = f"42 (a (b) c) S {' '.join(['0'] * 10)} {ticks} 0 0 0 0 0 0 0 77 0"
        for path, text in {
            "proc/stat": f"cpu  1 0 0 1 0 0 0 0\ncpu0 {cpu0} 0 0\ncpu1 0 0 0 {1000 + number * 100} 0 0 0 0\nctxt 1",
            "proc/vmstat": f"nr_free_pages 1\npswpin {swapped}\npswpout 1",
            "proc/net/softnet_stat": f"00000001 {dropped} 00000000\n00000001 00000000 00000000",
            "proc/42/stat": stat,
            f"proc/{os.getpid()}/stat": stat.replace("42 ", f"{os.getpid()} ").replace(f"{ticks}", f"{number * 99}"),
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(f"{text}\n")
        looks.append(Look.take(MachineFiles(root)))
    watched = Watched.between(*looks)
    assert watched.busy == pytest.approx({0: 0.5, 1: 0.0})
    assert watched.steal == pytest.approx({0: 0.2, 1: 0.0})
    assert watched.knows_steal
    assert watched.programs == [("a (b) c", 0.5)]
    assert (watched.swapped_pages, watched.dropped_packets) == (4, 2)


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    said = run("doctor", "--testbed", "loopback", "--json", file)
    found = json.loads(file.read_bytes())
    Draft202012Validator(json_schema.make("doctor")).validate(found)
    assert said.err == ""
    assert said.status == (1 if found["problems"] else 0)
    not_of_devices = {name for name in CHECKS if not name.startswith("nic.")}
    assert {one["id"] for one in found["checks"]} >= not_of_devices
    states = [one["state"] for one in found["checks"]]
    assert [states.count(state) for state in ("problem", "warning", "unknown")] == [
        found["problems"], found["warnings"], found["unknown"]
    ]  # fmt: skip
    shown = [line.split()[0] for line in said.out.splitlines() if line.startswith("  ") and line[2] != " "]
    assert shown == states
    for one in found["checks"]:
        assert (one["mend"] is None) or f"mend: {one['mend']}\n" in said.out


def test_json_alone_is_printed_instead_of_the_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "look", lambda _request: make(tmp_path))
    said = run("doctor", "--json", "--workers", "1")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out)["problems"] == 0


@pytest.mark.parametrize(("governor", "status"), [("performance", 0), ("powersave", 1)])
def test_the_exit_status_tells_of_problems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, governor: str, status: int
) -> None:
    spoilt = {f"{CPU}/cpu0/cpufreq/scaling_governor": governor, f"{CPU}/cpufreq/boost": "1"}
    monkeypatch.setattr(command, "look", lambda _request: make(tmp_path, spoilt))
    said = run("doctor")
    assert said.status == status
    assert " ".join(said.out.split()).endswith(
        f" {status} problem{'' if status else 's'}, 1 warning, 0 that cannot be told here and "
        f"{len(CHECKS) - 1 - status} as they should be; what mends is for a root shell."
    )


def text_of(found: Diagnosis, *, terminal: bool) -> str:
    console = Console(width=200, force_terminal=terminal, color_system="standard" if terminal else None)
    with console.capture() as captured:
        report.show(console, found)
    return captured.get()


def test_a_narrow_terminal_breaks_no_line_but_those_to_be_copied(tmp_path: Path) -> None:
    found = command.diagnose(make(tmp_path, {f"{CPU}/cpufreq/boost": "1"}, card(speed_mbps=100)))
    console = Console(width=50, force_terminal=True, color_system=None)
    with console.capture() as captured:
        report.show(console, found)
    lines = [line for line in captured.get().splitlines() if "mend: " not in line]
    assert max(map(len, lines)) <= 50
    assert "  warning  turbo: on" in lines


def test_what_is_of_one_device_stands_together(tmp_path: Path) -> None:
    nics = tuple(dataclasses.replace(NIC, name=name) for name in ("card0", "card1"))
    devices = [one.device for one in command.diagnose(make(tmp_path, others={"devices": nics})).checks if one.device]
    assert devices == sorted(devices)
    assert set(devices) == {"card0", "card1"}


def test_there_are_colours_on_a_terminal_alone(tmp_path: Path) -> None:
    found = command.diagnose(make(tmp_path, {f"{CPU}/cpufreq/boost": "1"}))
    assert "\x1b[33mwarning" in text_of(found, terminal=True)
    assert "\x1b" not in text_of(found, terminal=False)


@pytest.mark.parametrize("evil", ["e;reboot", "a\x1b[2J", "it's\\\x9b", "\u202eeth0"])
def test_a_device_s_name_is_one_word_for_the_shell_and_moves_no_cursor(evil: str, tmp_path: Path) -> None:
    found = command.diagnose(make(tmp_path, others=card(name=evil, is_up=False, coalescing={"adaptive-rx": 1})))
    assert text_of(found, terminal=False).replace("\n", "").isprintable()
    mends = {one.id: one.mend for one in found.checks if one.mend}
    for mend, end in ((mends["nic.link"], ["up"]), (mends["nic.coalescing"], ["--cpus", "0-1", "--apply"])):
        line = ["-c", f"printf '%s\\0' {mend}"]
        told = subprocess.run([BASH, *line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
        *_, name, rest = told.stdout.decode().removesuffix("\0").partition(evil)
        assert (name, rest.split("\0")[1:]) == (evil, end)
        assert mend in text_of(found, terminal=False)


def test_tune_as_a_mend_is_found_by_root(tmp_path: Path) -> None:
    [adaptive] = [case for case in OTHERS if case.found == "adaptive-rx on"]
    program, *_ = shlex.split(look(adaptive, tmp_path).mend or "")
    assert Path(program).is_absolute()
    assert os.access(program, os.X_OK)


def test_names_from_elsewhere_stay_text(tmp_path: Path) -> None:
    greedy = busy(0.9, ("[red]\x1b[2Jevil", 0.9))
    plain = text_of(command.diagnose(make(tmp_path, others=greedy)), terminal=False)
    assert "[red]\\x1b[2Jevil (90 %)" in plain
    assert all(char == "\n" or char.isprintable() for char in plain)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nic", "lo"], "--nic lo: is a device of kind loopback, with no queues of its own; name a network card"),
        (["--nic", "nosuch"], "--nic 'nosuch' is no network device here; there are: "),
        (["--nic", "../../x"], "--nic '../../x' is no network device here"),
        (["--json", "/nosuch/file"], "--json /nosuch/file: cannot be written"),
        (["--json", ""], "an empty text names no file"),
        (["--workers", "4096"], "--workers 4096: 4096 workers need 4096 CPUs"),
        (["--server-cpus", "8000"], "--server-cpus 8000: this process may not use CPU 8000"),
        (["--concurrency", "0"], "'0' is not a number from 1"),
    ],
)
def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str) -> None:
    monkeypatch.setattr(command, "WATCHED_S", 0.0)
    said = run("doctor", "--testbed", "loopback", *arguments)
    assert said.is_one_line_of_error
    assert named in said.err


def test_rules_of_nf_tables_are_counted(tool: Callable[[str, str], str], tmp_path: Path) -> None:
    """What mends connection tracking is taken by the real nft(8), and is no rule that is complained of."""
    tool("nft", "nftables")
    [case, *_] = [case for case in OTHERS if case.id == "firewall.conntrack"]
    untracked = look(case, tmp_path).mend or ""
    read = f"{sys.executable} -c 'from harness.doctor import netfilter; print(netfilter.read())'"
    filtering = (
        "nft 'add table ip mine; add chain ip mine in { type filter hook input priority 0; }; "
        "add chain ip mine other; add rule ip mine in counter; add rule ip mine other counter; add table ip empty; "
        "add table inet more; add chain inet more in { type filter hook input priority 1; }; "
        "add rule inet more in counter'"
    )
    more = (
        "nft 'add table ip shut; add chain ip shut in { type filter hook input priority 2; policy drop; }; "
        "add chain ip shut on { type filter hook forward priority 2; policy drop; }; "
        "add rule inet more in ct state established'"
    )
    opened = look(Spoilt("firewall.nf_tables", "warning", "", others={"ruleset": Ruleset(1)}), tmp_path).mend
    script = f"set -e; {untracked}\n{read}; {filtering}; {read}; {more}; {read}; {opened}\n{read}"
    script = script.replace("/root/", f"{tmp_path}/")
    printed = in_a_network_of_its_own(tool, "bash", "-c", script)
    rules = Ruleset(2, 3, ("inet more", "ip mine"), untracked=(7,))
    shut = Ruleset(3, 4, ("inet more", "ip mine", "ip shut"), ("ip shut in",), tracks=True, untracked=(7,))
    assert printed.splitlines() == [str(one) for one in (Ruleset(untracked=(7,)), rules, shut, Ruleset())]


def test_the_page_is_what_the_checks_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(), "run make doctor-page"
