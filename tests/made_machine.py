"""A machine that there is not, as it should be: four CPUs, and the files by which a kernel tells of itself."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.doctor.netfilter import Ruleset
from harness.doctor.system import Roles, System
from harness.doctor.tools import TOOLS
from harness.doctor.watch import Watched
from harness.machine_files import MachineFiles
from harness.nic.device import Nic
from harness.nic.interrupts import Interrupt
from harness.nic.netlink import Channels
from harness.nic.queues import RxQueue, TxQueue
from harness.schema import Cell

CPUS = range(4)
_CPU = "/sys/devices/system/cpu"
_NODE = "/sys/devices/system/node"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"

Files = Mapping[str, str | None]
"""Texts by the names of their files; None for a file that is not there."""

FILES: Files = {
    **{f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor": "performance" for cpu in CPUS},
    **{f"{_CPU}/cpu{cpu}/topology/thread_siblings_list": f"{cpu}" for cpu in CPUS},
    **{f"{_CPU}/cpu{cpu}/cpuidle/state{state}/name": name for cpu in CPUS for state, name in enumerate(("POLL", "C6"))},
    **{f"{_CPU}/cpu{cpu}/cpuidle/state{state}/latency": us for cpu in CPUS for state, us in enumerate(("0", "133"))},
    **{f"{_CPU}/cpu{cpu}/cpuidle/state{state}/disable": off for cpu in CPUS for state, off in enumerate(("0", "1"))},
    f"{_CPU}/cpufreq/boost": "0",
    f"{_CPU}/isolated": "",
    f"{_CPU}/nohz_full": "(null)",
    f"{_CPU}/vulnerabilities/meltdown": "Not affected",
    f"{_CPU}/vulnerabilities/spectre_v1": "Mitigation: usercopy/swapgs barriers and __user pointer sanitization",
    f"{_CLOCK}/current_clocksource": "tsc",
    f"{_CLOCK}/available_clocksource": "tsc hpet acpi_pm",
    f"{_NODE}/node0/cpulist": "0-3",
    "/sys/class/dmi/id/sys_vendor": "Maker",
    "/sys/class/dmi/id/product_name": "Server 1",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "/sys/fs/cgroup/cgroup.procs": "",
    "/sys/fs/cgroup/own/cpu.max": "max 100000",
    "/proc/self/cgroup": "0::/own",
    "/proc/self/mountinfo": "24 22 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate",
    "/proc/self/status": "Name:\tpython\nUid:\t0\t0\t0\t0\nCapEff:\t0000000000000000",
    "/proc/self/limits": "Limit Soft Limit Hard Limit Units\nMax open files            1024      524288      files",
    "/proc/cpuinfo": "processor : 0\nflags : fpu tsc",
    "/proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    7000000 kB",
    "/proc/swaps": "Filename Type Size Used Priority",
    "/proc/7/comm": "init",
    "/proc/net/ip_tables_names": "",
    "/proc/sys/kernel/numa_balancing": "0",
    "/proc/sys/kernel/perf_event_paranoid": "0",
    "/proc/sys/fs/nr_open": "1048576",
    "/proc/sys/net/core/netdev_max_backlog": "1000",
    "/proc/sys/net/core/rps_sock_flow_entries": "0",
    "/proc/sys/net/core/somaxconn": "4096",
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
    "/proc/sys/net/ipv4/tcp_max_syn_backlog": "512",
    "/proc/sys/net/ipv4/tcp_syncookies": "1",
    "/proc/sys/net/ipv4/tcp_timestamps": "1",
    "/proc/sys/net/ipv4/tcp_tw_reuse": "1",
}

NIC = Nic(
    name="card0",
    index=7,
    kind=None,
    driver="maker",
    is_up=True,
    speed_mbps=10_000,
    numa_node=0,
    channels=Channels(combined=2, max_combined=2),
    coalescing={"adaptive-rx": 0, "rx-usecs": 8},
    rx=(RxQueue(0, (), 0), RxQueue(1, (), 0)),
    tx=(TxQueue(0, (0,)), TxQueue(1, (1,))),
    interrupts=(
        Interrupt(40, "card0-config", None, (0, 1, 2, 3)),
        Interrupt(41, "card0-TxRx-0", 0, (0,)),
        Interrupt(42, "card0-TxRx-1", 1, (1,)),
    ),
)


def make(root: Path, changed: Files | None = None, others: Mapping[str, Any] | None = None) -> System:
    """Make the files, but for those that are changed, and the system with them, but for its other parts.

    Servers are reached by a card, so that what is the machine's own network counts.
    """
    for name, text in {**FILES, **(changed or {})}.items():
        if text is not None:
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n" if text else "")
    system = System(
        files=MachineFiles(root),
        load=Cell("proxy", 2, 100),
        roles=Roles(server=(0, 1), client=(2,), backend=(3,)),
        allowed=tuple(CPUS),
        testbed="netns",
        testbed_notes=("auto took netns",),
        devices=(NIC,),
        names_devices=True,
        watched=Watched(busy=dict.fromkeys(CPUS, 0.01), steal=dict.fromkeys(CPUS, 0.0), knows_steal=True),
        ruleset=Ruleset(),
        programs={tool.name: f"/usr/bin/{tool.name}" for tool in TOOLS},
    )
    return dataclasses.replace(system, **(others or {}))
