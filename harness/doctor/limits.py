"""Limits of the kernel that many connections meet.

Those of the network belong to a network namespace: hosts of the testbed netns have their own, which it sets.
"""

import re
from typing import Final

from harness import open_files
from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.system import System
from harness.peers.flags import BACKLOG
from harness.ports import FIRST_LOCAL_PORT, LAST_PORT
from harness.report.figures import plural

USUAL_PORTS: Final = 28_232
"""Those from 32768 to 60999, the kernel's default (ip-sysctl.rst, ip_local_port_range)."""
PACKETS_PER_CONNECTION: Final = 3
"""On their way at once on one side at most: of a short connection ACK, request and FIN."""
CAP_SYS_RESOURCE: Final = 24
"""Of capabilities(7): whoever has it may raise hard limits."""
_NS_DEFAULT: Final = "hosts of the testbed netns have their own"
_USERNS: Final = (
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
)
"""What keeps users from making namespaces (Ubuntu's own, Debian's own), with the values that do and do not."""
_NAMESPACES: Final = ("user.max_net_namespaces", "user.max_user_namespaces")
"""How many there may be (Documentation/admin-guide/sysctl/user.rst)."""
_ENOUGH_NAMESPACES: Final = 10_000


def _open_files(system: System) -> Finding:
    line = next((one for one in system.files.lines("/proc/self/limits") if one.startswith("Max open files")), "")
    found = re.search(r"(\d+|unlimited)\s+(\d+|unlimited)\s+files", line)
    if not found:
        return unknown("the kernel does not say (/proc/self/limits)")
    needed = open_files.files_needed(system.load)
    if found[2] == "unlimited" or int(found[2]) >= needed:
        return ok(f"{_many(found[2])} for a process, which needs {needed:,}")
    largest = system.files.sysctl_number("fs.nr_open")
    first = f"sysctl -w fs.nr_open={needed} && " if largest is not None and needed > largest else ""
    if system.may(CAP_SYS_RESOURCE) and not first:
        return ok(f"{_many(found[2])} for a process, which needs {needed:,}; root's harness raises it by itself")
    return problem(f"{_many(found[2])} for a process, which needs {needed:,}", f"{first}ulimit -Hn {needed}")


def _many(limit: str) -> str:
    return f"{int(limit):,}" if limit.isdigit() else limit


def _ports(system: System) -> Finding:
    if not system.uses_own_network:
        return ok(_NS_DEFAULT)
    text = system.files.sysctl("net.ipv4.ip_local_port_range")
    if text is None:
        return unknown("the kernel does not say (net.ipv4.ip_local_port_range)")
    low, high = map(int, text.split())
    count = high - low + 1
    said = f"{count:,} ({low} to {high})"
    widest = min(low, FIRST_LOCAL_PORT), max(high, LAST_PORT)
    mend = None
    if widest != (low, high):
        mend = f"sysctl -w net.ipv4.ip_local_port_range='{widest[0]} {widest[1]}'"
    if widest[1] - widest[0] + 1 < system.connections:
        return problem(f"{said}, and no range has {system.connections:,}: the client needs more addresses")
    if count < system.connections:
        return problem(f"{said}, and {plural(system.connections, 'connection')} are to be open", mend)
    return warning(said, mend) if count < USUAL_PORTS else ok(said)


def _reuse(system: System) -> Finding:
    if not system.uses_own_network:
        return ok(_NS_DEFAULT)
    name = "net.ipv4.tcp_tw_reuse"
    reuse, timestamps = system.files.sysctl(name), system.files.sysctl("net.ipv4.tcp_timestamps")
    if reuse is None:
        return unknown(f"the kernel does not say ({name})")
    if timestamps == "0":
        return warning(
            "tcp_timestamps is 0, without which no port is taken again", "sysctl -w net.ipv4.tcp_timestamps=1"
        )
    if reuse == "0" or (reuse == "2" and system.names_devices):
        where = ", which is on loopback alone" if reuse == "2" else ""
        return warning(f"{name} is {reuse}{where}", f"sysctl -w {name}=1")
    return ok(f"{name} is {reuse}")


def _accept_queue(system: System) -> Finding:
    name, needed = "net.core.somaxconn", min(BACKLOG, system.connections)
    if not system.uses_own_network:
        return ok(_NS_DEFAULT)
    limit = system.files.sysctl_number(name)
    if limit is None:
        return unknown(f"the kernel does not say ({name})")
    said = f"{name} is {limit:,}; servers ask for {BACKLOG:,}"
    if limit < needed:
        return problem(
            f"{said}, and {plural(system.connections, 'connection')} may come at once", f"sysctl -w {name}={BACKLOG}"
        )
    return ok(said)


def _syn_queue(system: System) -> Finding:
    """Without SYN cookies the last quarter is kept for hosts that are known (tcp_conn_request, net/ipv4)."""
    name = "net.ipv4.tcp_max_syn_backlog"
    if not system.uses_own_network:
        return ok(_NS_DEFAULT)
    limit, cookies = system.files.sysctl_number(name), system.files.sysctl("net.ipv4.tcp_syncookies")
    if limit is None:
        return unknown(f"the kernel does not say ({name})")
    if cookies == "2":
        return warning("tcp_syncookies is 2, which is for tests of cookies", "sysctl -w net.ipv4.tcp_syncookies=1")
    said = f"{name} is {limit:,}"
    if cookies == "0" and limit * 3 // 4 < system.connections:
        return problem(
            f"{said}, without SYN cookies, and {plural(system.connections, 'connection')} may come at once",
            f"sysctl -w {name}={BACKLOG}",
        )
    return ok(said if cookies == "0" else f"{said}, and SYN cookies help out")


def _packet_queue(system: System) -> Finding:
    name, needed = "net.core.netdev_max_backlog", system.connections * PACKETS_PER_CONNECTION
    limit = system.files.sysctl_number(name)
    if limit is None:
        return unknown(f"{name} is not to be seen in a network namespace of its own")
    mend = f"sysctl -w {name}={max(needed, 2 * limit)}"
    if system.watched.dropped_packets:
        return problem(
            f"{name} is {limit:,}, and {system.watched.dropped_packets:,} packets were dropped just now", mend
        )
    said = f"{name} is {limit:,}"
    if limit < needed:
        return warning(f"{said}, and {needed:,} packets may be on their way", mend)
    return ok(said)


def _namespaces(system: System) -> Finding:
    notes = "; ".join(system.testbed_notes)
    if system.testbed == "netns":
        return ok("can be made")
    if not system.testbed_notes:
        return ok("are not wanted")
    mend = _allow_namespaces(system)
    return problem(notes, mend) if system.wants_netns else warning(notes, mend)


def _allow_namespaces(system: System) -> str | None:
    """Say what allows namespaces, where it is a setting that forbids them."""
    wrong = [] if system.is_root else [f"{name}={right}" for name, bad, right in _USERNS
                                       if system.files.sysctl(name) == bad]  # fmt: skip
    wrong += [f"{name}={_ENOUGH_NAMESPACES}" for name in _NAMESPACES if system.files.sysctl(name) == "0"]
    return f"sysctl -w {' '.join(wrong)}" if wrong else None


def _root(system: System) -> Finding:
    if system.is_root:
        return ok("yes")
    return warning("no: packets are not steered to a side's CPUs, --rfs and nf_tables' rules are out of reach")


def _perf(system: System) -> Finding:
    name = "kernel.perf_event_paranoid"
    level = system.files.sysctl(name)
    if level is None:
        return unknown(f"the kernel does not say ({name})")
    if system.is_root:
        return ok(f"{name} is {level}, and root may all the same")
    if int(level) > 0:
        return warning(f"{name} is {level}", f"sysctl -w {name}=0")
    return ok(f"{name} is {level}")


AREA: Final = Area(
    "Limits of the kernel",
    (
        Check(
            "limits.root", "root", "yes",
            "without it the client's packets are handled where its CPU pays for the server's work, or the reverse",
            _root,
        ),
        Check(
            "limits.namespaces", "network namespaces", "can be made",
            "on loopback the client's CPU does much of the server's work, and is the limit", _namespaces,
        ),
        Check(
            "limits.open_files", "open files", "what the connections of a proxy take",
            "a connection takes a descriptor on each side; without one it waits, or the run is refused", _open_files,
        ),
        Check(
            "limits.ports", "local ports", f"{USUAL_PORTS:,}, and no less than connections",
            "each connection takes one on the client's side, and may not get it back for a minute", _ports,
        ),
        Check(
            "limits.tw_reuse", "ports in TIME_WAIT", "net.ipv4.tcp_tw_reuse is 1, or 2 on loopback, with timestamps",
            "without it a client runs out of ports at some hundred connections a second", _reuse,
        ),
        Check(
            "limits.accept_queue", "queue of accepted connections", f"as many as connections, or {BACKLOG:,}",
            "what finds it full is dropped, and tried again a second later: the backlog is measured", _accept_queue,
        ),
        Check(
            "limits.syn_queue", "queue of begun connections", "SYN cookies, or 4/3 of the connections",
            "a SYN that finds it full is dropped, and tried again a second later", _syn_queue,
        ),
        Check(
            "limits.packet_queue", "queue of packets of each CPU",
            f"{PACKETS_PER_CONNECTION} for each connection, and nothing is dropped",
            "steered packets, and those of loopback, wait there; what finds it full is sent again much later",
            _packet_queue,
        ),
        Check(
            "limits.perf", "perf", "root, or kernel.perf_event_paranoid at 0 or lower",
            "harness profile cannot show where the core goes", _perf,
        ),
    ),
)  # fmt: skip
