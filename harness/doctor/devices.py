"""Network devices: how packets are spread over CPUs, and when they are told of.

See the kernel's Documentation/networking/scaling.rst for RSS, RPS, RFS and XPS.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from harness.doctor import mends
from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.system import System
from harness.machine_setting import SOCK_FLOW_ENTRIES
from harness.nic import rules
from harness.nic.device import Nic
from harness.nic.interrupts import Interrupt
from harness.report.figures import plural
from harness.testbed import cpus

SLOW_LINK_MBPS: Final = 1000
"""A short connection takes about a kilobyte on the wire: 100 thousand a second fill such a link."""

_Look = Callable[[System, Nic], Finding]


def _each(look: _Look) -> Callable[[System], Iterator[Finding]]:
    """Look at each device; what none of the servers may be reached by says so."""

    def look_at_all(system: System) -> Iterator[Finding]:
        for nic in system.devices:
            finding = look(system, nic)
            unused = "" if finding.state == "ok" or system.names_devices else "; counts for servers reached by it alone"
            yield replace(finding, found=f"{finding.found}{unused}", device=nic.name)

    return look_at_all


def _tune(system: System, nic: Nic, *more: str) -> str:
    """Say how tune mends it: for all CPUs, or for the server's alone where not each can have a queue."""
    most = max(nic.channels.max_combined, nic.channels.max_rx) if nic.channels else 0
    few = [] if most >= len(system.allowed) else ["--cpus", cpus.write(system.roles.server)]
    return mends.harness("tune", "--nic", nic.name, *few, *more, "--apply")


def _link(system: System, nic: Nic) -> Finding:
    if not nic.is_up:
        said = "is down"
        mend = f"ip link set dev {mends.quoted(nic.name)} up"
        return problem(said, mend) if system.names_devices else warning(said, mend)
    if nic.speed_mbps is None:
        return ok("is up; of no speed that it tells")
    said = f"is up, {nic.speed_mbps:,} Mbit/s"
    return ok(said) if nic.speed_mbps >= SLOW_LINK_MBPS else warning(said)


def _queues(system: System, nic: Nic) -> Finding:
    wanted = len(system.roles.server)
    said = f"{plural(len(nic.rx), 'receive queue')} for {plural(wanted, 'CPU')} of the server's"
    if len(nic.rx) >= wanted:
        return ok(said)
    most = max(nic.channels.max_combined, nic.channels.max_rx) if nic.channels else 0
    if most > len(nic.rx):
        return warning(f"{said}; it can have {most}", _tune(system, nic))
    return ok(f"{said}, which is all that it can have")


def _interrupts(system: System, nic: Nic) -> Finding:
    of_queues = [one for one in nic.interrupts if one.queue is not None]
    if not of_queues:
        return unknown("the kernel shows no interrupts of its queues")
    loose = [one for one in of_queues if len(one.cpus) != 1]
    if loose:
        which = ", ".join(f"{one.number} may go to CPU {cpus.write(one.cpus) or '?'}" for one in loose)
        return warning(f"not bound to a CPU each: {which}", _tune(system, nic))
    taken = {cpu for one in of_queues for cpu in one.cpus}
    said = f"{plural(len(of_queues), 'interrupt')} on CPU {cpus.write(taken)}"
    if len(taken & set(system.roles.server)) < min(_queues_of(of_queues), len(system.roles.server)):
        return warning(f"{said}, and the server has CPU {cpus.write(system.roles.server)}", _tune(system, nic))
    return ok(said)


def _queues_of(interrupts: Sequence[Interrupt]) -> int:
    """Count queues: some drivers have an interrupt for what a queue receives, and one for what it sends."""
    return len({one.queue for one in interrupts})


def _rps(system: System, nic: Nic) -> Finding:
    if any(queue.rps_cpus is None for queue in nic.rx):
        return unknown("the kernel does not say")
    passed_on = {cpu for queue in nic.rx for cpu in queue.rps_cpus or ()}
    said = f"to CPU {cpus.write(passed_on)}" if passed_on else "off"
    sharing = passed_on | set(system.roles.server)
    if not rules.need_steering(len(nic.rx), len(sharing)):
        return ok(said) if not passed_on else warning(f"{said}, with a queue for each CPU", _tune(system, nic))
    missing = set(system.roles.server) - passed_on
    if missing and (passed_on or rules.need_steering(len(nic.rx), len(system.roles.server))):
        which = f"not to CPU {cpus.write(missing)}"
        return warning(f"{said}, with {plural(len(nic.rx), 'queue')}: {which}", _tune(system, nic))
    return ok(said)


def _rfs(system: System, nic: Nic) -> Finding:
    table = SOCK_FLOW_ENTRIES.name
    entries = system.files.sysctl_number(table)
    remembered = sum(queue.rps_flow_cnt or 0 for queue in nic.rx)
    if entries is None:
        return unknown(f"{table} is not to be seen in a network namespace of its own") if remembered else ok("off")
    if bool(entries) != bool(remembered):
        said = f"half on: {table} is {entries:,}, and its queues remember {remembered:,}"
        return warning(said, _tune(system, nic, "--rfs"))
    return ok(f"{remembered:,} connections" if remembered else "off")


def _xps(system: System, nic: Nic) -> Finding:
    if len(nic.tx) <= 1:
        return ok("has one queue that sends")
    if any(queue.xps_cpus is None for queue in nic.tx):
        return unknown("the kernel does not say")
    served = [cpu for queue in nic.tx for cpu in queue.xps_cpus or ()]
    missing = set(system.roles.server) - set(served)
    if missing:
        return warning(f"CPU {cpus.write(missing)} of the server's has no queue of its own", _tune(system, nic))
    return ok(f"{plural(len(nic.tx), 'queue')} for CPU {cpus.write(served)}")


def _coalescing(system: System, nic: Nic) -> Finding:
    if not nic.coalescing:
        return ok("its driver has none")
    adaptive = [name for name in ("adaptive-rx", "adaptive-tx") if nic.coalescing.get(name)]
    if adaptive:
        return warning(f"{' and '.join(adaptive)} on", _tune(system, nic))
    wait_us = nic.coalescing.get("rx-usecs", 0)
    if wait_us > rules.USECS:
        return warning(f"rx-usecs {wait_us}", _tune(system, nic))
    return ok(f"rx-usecs {wait_us}{', which latencies have in them' if wait_us else ''}")


def _node(system: System, nic: Nic) -> Finding:
    members = system.files.read(f"/sys/devices/system/node/node{nic.numa_node}/cpulist")
    if nic.numa_node is None or not members:
        return ok("memory is in one node, as far as it tells")
    far = set(system.roles.server) - set(cpus.parse(members))
    if far:
        return warning(f"is at node {nic.numa_node}, CPU {cpus.write(far)} of the server's is not; others may be")
    return ok(f"is at node {nic.numa_node}, as the server's CPUs are")


AREA: Final = Area(
    "Network devices",
    (
        Check(
            "nic.link", "link", f"up, {SLOW_LINK_MBPS:,} Mbit/s or more",
            "a slow link is the limit before any server is", _each(_link),
        ),
        Check(
            "nic.queues", "queues that receive", "one for each of the server's CPUs, or all that it can have",
            "what one queue receives is one CPU's work", _each(_queues),
        ),
        Check(
            "nic.interrupts", "interrupts", "each on one CPU, and those of queues on as many of the server's as can be",
            "the CPU that takes the interrupt works on the packets, in the time of whatever server runs there",
            _each(_interrupts),
        ),
        Check(
            "nic.rps", "RPS", "to all of the server's CPUs where queues are fewer than CPUs that share them, else off",
            "without it some CPUs receive for all; with a queue for each it costs an interrupt more", _each(_rps),
        ),
        Check(
            "nic.rfs", "RFS", "off, or on in the kernel and the device",
            "on in one place alone it does nothing", _each(_rfs),
        ),
        Check(
            "nic.xps", "XPS", "each of the server's CPUs has a queue that sends",
            "CPUs that send through one queue wait for its lock", _each(_xps),
        ),
        Check(
            "nic.coalescing", "coalescing", f"not adaptive, and rx-usecs at most {rules.USECS}",
            "a packet waits for its interrupt; how long follows the load, which is not the same for all servers",
            _each(_coalescing),
        ),
        Check(
            "nic.node", "node of memory", "that of the server's CPUs",
            "packets of a card at another node come through its memory", _each(_node),
        ),
    ),
)  # fmt: skip
