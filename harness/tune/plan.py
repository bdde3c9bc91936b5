"""What is to be set: pure, from a device and the CPUs that are to share its work.

It follows what Fastsocket's nic.sh does: a queue and an interrupt for each CPU, a bound on interrupts, packet steering
where queues are fewer than CPUs, and each CPU sends through a queue of its own. What each setting is for, and where
that is written, is in docs/tuning.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.machine_setting import FLOW_TABLE
from harness.nic import rules
from harness.nic.device import Nic
from harness.nic.queues import RxQueue, TxQueue
from harness.peers.flags import BACKLOG
from harness.ports import FIRST_LOCAL_PORT, LAST_PORT
from harness.report.figures import plural
from harness.testbed.flow_steering import ENTRIES
from harness.tune.settings import (
    ChannelCount,
    ChannelKind,
    Coalescing,
    CoalescingName,
    QueueCpus,
    QueueFlows,
    Setting,
    Sysctl,
    SysctlName,
    of_interrupts,
    write_cpus,
)

Part = Literal["channels", "coalescing", "interrupts", "rps", "rfs", "xps", "sysctls"]
PARTS: tuple[Part, ...] = get_args(Part)
_FLOW_ENTRIES: SysctlName = FLOW_TABLE
_AT_LEAST: Mapping[SysctlName, tuple[int, str]] = {
    "net.core.somaxconn": (BACKLOG, f"the servers ask for a backlog of {BACKLOG}; the kernel cuts it to this"),
    "net.ipv4.tcp_max_syn_backlog": (BACKLOG, "as many connections may be half open as wait to be accepted"),
    "net.core.netdev_max_backlog": (10_000, "packets that may wait for a CPU they were steered to; more are dropped"),
}
SYSCTLS: tuple[SysctlName, ...] = get_args(SysctlName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for."""

    cpus: tuple[int, ...]
    """Those that work on the device's packets, in rising order."""
    rfs: bool = False
    usecs: int = rules.USECS
    leave: frozenset[Part] = frozenset()
    """What stays as it is."""


@dataclass(frozen=True, slots=True)
class Change:
    """One setting."""

    part: Part
    setting: Setting
    now: str | None
    """None for what comes with a change before it."""
    then: str
    why: str

    @property
    def is_needed(self) -> bool:
        """Whether it is otherwise."""
        return self.now != self.then


@dataclass(frozen=True, slots=True)
class Plan:
    """All settings, in the order in which they are made, those that are right already among them."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    """What cannot be had of this device."""

    @property
    def needed(self) -> tuple[Change, ...]:
        """What is to be changed."""
        return tuple(change for change in self.changes if change.is_needed)


def make(nic: Nic, wishes: Wishes, sysctls: Mapping[SysctlName, str]) -> Plan:
    """Plan for a device and the settings of its host, of which ``sysctls`` has those that there are."""
    channels = [] if "channels" in wishes.leave else list(_channels(nic, wishes))
    then = _with_queues(nic, {change.setting.kind: int(change.then) for change in channels
                              if isinstance(change.setting, ChannelCount)})  # fmt: skip
    changes: list[Change] = [
        *channels,
        *_coalescing(nic, wishes),
        *_interrupts(nic, then, wishes),
        *_steering(then, wishes),
        # Without the host's table a queue's does nothing.
        *(_flows(then) if wishes.rfs and _FLOW_ENTRIES in sysctls else ()),
        *_sending(then, wishes),
        *_host(wishes, sysctls),
    ]
    return Plan(
        tuple(change for change in changes if change.part not in wishes.leave),
        tuple(_notes(nic, then, wishes, sysctls)),
    )


def _channels(nic: Nic, wishes: Wishes) -> Iterator[Change]:
    """Have a queue for each CPU: those that receive and send where the device has such, else of either kind."""
    found = nic.channels
    if found is None:
        return
    kinds: Sequence[ChannelKind] = ("combined",) if found.max_combined else ("rx", "tx")
    for kind in kinds:
        then = min(len(wishes.cpus), getattr(found, f"max_{kind}"))
        if then:
            why = "a queue for each CPU, so that none works for another"
            yield Change("channels", ChannelCount(kind), str(getattr(found, kind)), str(then), why)


def _with_queues(nic: Nic, counts: Mapping[ChannelKind, int]) -> Nic:
    """Tell what the device will be with so many queues of a kind; one that comes has no settings yet."""
    rx, tx = (counts.get("combined", counts.get(kind)) for kind in ("rx", "tx"))
    new_rx = [RxQueue(number, None, None) for number in range(len(nic.rx), rx or 0)]
    new_tx = [TxQueue(number, None) for number in range(len(nic.tx), tx or 0)]
    return replace(nic, rx=(*nic.rx, *new_rx)[: rx or None], tx=(*nic.tx, *new_tx)[: tx or None])


def _coalescing(nic: Nic, wishes: Wishes) -> Iterator[Change]:
    """Have a fixed time between interrupts. What a driver keeps at 0 for sending goes by that for receiving."""
    values: list[tuple[CoalescingName, int, str]] = []
    steady = "a time that follows the load is another for each server that is compared"
    bound = f"at most {1_000_000 // wishes.usecs:,} interrupts a second a queue" if wishes.usecs else "no wait at all"
    for side in ("rx", "tx"):
        adaptive: CoalescingName = "adaptive-rx" if side == "rx" else "adaptive-tx"
        usecs: CoalescingName = "rx-usecs" if side == "rx" else "tx-usecs"
        is_used = side == "rx" or nic.coalescing.get(usecs) or nic.coalescing.get(adaptive)
        values += [(adaptive, 0, steady), *([(usecs, wishes.usecs, bound)] if is_used else [])]
    for name, value, why in values:
        if name in nic.coalescing:
            yield Change("coalescing", Coalescing(name), str(nic.coalescing[name]), str(value), why)


def _interrupts(nic: Nic, then: Nic, wishes: Wishes) -> Iterator[Change]:
    """Have each CPU take the interrupts of its own queue."""
    why = "a queue's packets are worked on where its interrupt is taken"
    for one, setting in zip(nic.interrupts, of_interrupts(nic.interrupts), strict=True):
        if one.queue is not None and one.queue < max(len(then.rx), len(then.tx)) and one.cpus:
            cpu = wishes.cpus[one.queue % len(wishes.cpus)]
            yield Change("interrupts", setting, write_cpus(one.cpus), f"{cpu}", why)


def _steering(nic: Nic, wishes: Wishes) -> Iterator[Change]:
    """Spread packets over all CPUs where queues do not, and nowhere else: passing them on costs an interrupt more."""
    too_few = rules.need_steering(len(nic.rx), len(wishes.cpus))
    for queue in nic.rx:
        why = "queues are fewer than CPUs, so packets are passed on" if too_few else "each CPU has a queue of its own"
        setting = QueueCpus(f"rx-{queue.number}", "rps_cpus")
        now = None if queue.rps_cpus is None else write_cpus(queue.rps_cpus)
        yield Change("rps", setting, now, write_cpus(wishes.cpus if too_few else ()), why)


def _flows(nic: Nic) -> Iterator[Change]:
    """Have packets follow who reads them; the table of the host is divided among the queues, by a power of two."""
    each = 1 << (ENTRIES // len(nic.rx)).bit_length() - 1
    for queue in nic.rx:
        now = None if queue.rps_flow_cnt is None else f"{queue.rps_flow_cnt}"
        why = "packets go to the CPU of who reads them"
        yield Change("rfs", QueueFlows(f"rx-{queue.number}"), now, f"{each}", why)


def _sending(nic: Nic, wishes: Wishes) -> Iterator[Change]:
    """Have each CPU send through one queue; a device with one queue has no such choice."""
    if len(nic.tx) < 2:  # noqa: PLR2004  see above
        return
    for queue in nic.tx:
        now = None if queue.xps_cpus is None else write_cpus(queue.xps_cpus)
        own = wishes.cpus[queue.number :: len(nic.tx)]
        why = "a CPU sends through its own queue, and waits for no lock"
        yield Change("xps", QueueCpus(f"tx-{queue.number}", "xps_cpus"), now, write_cpus(own), why)


def _host(wishes: Wishes, sysctls: Mapping[SysctlName, str]) -> Iterator[Change]:
    for name, now in sysctls.items():
        if name in _AT_LEAST:
            least, why = _AT_LEAST[name]
            yield Change("sysctls", Sysctl(name), now, f"{max(least, int(now))}", why)
        elif name == "net.ipv4.ip_local_port_range":
            low, high = map(int, now.split())
            why = "a connection that was closed keeps its port for a minute, on the side that closed first"
            then = f"{min(low, FIRST_LOCAL_PORT)} {max(high, LAST_PORT)}"
            yield Change("sysctls", Sysctl(name), now, then, why)
        elif name == "net.ipv4.tcp_tw_reuse":
            why = "such a port is free again after a second, for connections that this host makes"
            yield Change("sysctls", Sysctl(name), now, "1", why)
        elif wishes.rfs:
            why = "the table in which the host notes who reads what"
            yield Change("rfs", Sysctl(name), now, f"{max(ENTRIES, int(now))}", why)


def _notes(nic: Nic, then: Nic, wishes: Wishes, sysctls: Mapping[SysctlName, str]) -> Iterator[str]:
    """Say what cannot be had, of what the user wants."""
    wanted = set(PARTS) - wishes.leave
    queues = max(len(then.rx), len(then.tx))
    if "channels" in wanted and nic.channels is None:
        yield f"the driver lets nobody change its queues; there {_are(queues, 'queue')}"
    elif "channels" in wanted and queues < len(wishes.cpus):
        yield f"the device has {plural(queues, 'queue')} at most, fewer than there are CPUs ({len(wishes.cpus)})"
    if "coalescing" in wanted and not nic.coalescing:
        yield "the driver has no coalescing"
    if "interrupts" in wanted:
        yield from _notes_on_interrupts(nic, queues)
    if wishes.rfs and "rfs" in wanted and _FLOW_ENTRIES not in sysctls:
        yield f"receive flow steering: the table {_FLOW_ENTRIES} is not in this network namespace, but in the machine's"
    missing = [name for name in SYSCTLS if name not in sysctls and name != _FLOW_ENTRIES]
    if "sysctls" in wanted and missing:
        yield f"not in this network namespace, but in the machine's: {', '.join(missing)}"


def _notes_on_interrupts(nic: Nic, queues: int) -> Iterator[str]:
    if not nic.interrupts:
        yield "the device has no interrupts of its own"
        return
    known = {one.queue for one in nic.interrupts} - {None}
    if not known:
        yield "no name of an interrupt tells which queue it is for, so all stay as they are"
    elif any(queue not in known for queue in range(queues)):
        yield "interrupts that come with new queues are bound in the same way when they are there"


def _are(count: int, noun: str) -> str:
    return f"{'is' if count == 1 else 'are'} {plural(count, noun)}"
