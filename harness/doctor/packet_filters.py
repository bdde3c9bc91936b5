"""What looks at packets on their way: firewalls, connection tracking."""

from collections.abc import Iterator
from typing import Final

from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.netfilter import UNTRACKED, UNTRACKED_IN
from harness.doctor.system import System
from harness.ports import FIRST_LOCAL_PORT, FIRST_PORT, LAST_PORT
from harness.report.figures import plural

FULL_SHARE: Final = 0.8
"""Of the connections that can be tracked: each stays for two minutes after its end, so the rest is soon gone."""
_TABLES: Final = {"iptables-legacy": "/proc/net/ip_tables_names", "ip6tables-legacy": "/proc/net/ip6_tables_names"}
"""By program, the file that names those whose module is loaded, which look at packets also without a rule."""
_COUNT: Final = "net.netfilter.nf_conntrack_count"
_LOOPBACK: Final = 1
"""The number of lo in each network namespace (LOOPBACK_IFINDEX, include/net/flow.h)."""
_HOOKS: Final = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The chains with a policy of each table (iptables(8))."""


def _elsewhere(system: System) -> str:
    return "" if system.uses_own_network else "; hosts of the testbed netns are not concerned"


def _tracking(system: System) -> Finding:
    count, most = system.files.sysctl_number(_COUNT), system.files.sysctl_number("net.netfilter.nf_conntrack_max")
    if count is None:
        return ok("the kernel has none, or it is not loaded")
    said = f"{plural(count, 'connection')}, and {most or 0:,} can be{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    if system.ruleset and {*_numbers(system)} <= {*system.ruleset.untracked}:
        return ok("the servers' ports are left out")
    if most and count > FULL_SHARE * most:
        return problem(said, _untrack(system))
    return _used(system, count, said)


def _used(system: System, count: int, said: str) -> Finding:
    """Tell whether anything is tracked, or would be: a rule may wait for the first connection."""
    asked_for = system.ruleset is not None and system.ruleset.tracks
    asked_for |= any("nat" in system.files.lines(name) for name in _TABLES.values())
    if count or asked_for:
        return warning(f"{said}{'; rules ask for it' if asked_for else ''}", _untrack(system))
    if system.ruleset is None:
        return unknown("nothing is tracked now; only root may see whether rules ask for it")
    return ok("nothing is tracked, and no rule asks for it")


def _numbers(system: System) -> list[int]:
    """Tell the numbers of the devices that servers are reached by."""
    return [nic.index for nic in system.devices] if system.names_devices else [_LOOPBACK]


def _untrack(system: System) -> str:
    """Leave out the servers' ports alone, since rules by state may be what lets the user in."""
    low = int((system.files.sysctl("net.ipv4.ip_local_port_range") or f"{FIRST_LOCAL_PORT} 0").split()[0])
    ports = f"{FIRST_PORT}-{low - 1 if low > FIRST_PORT else LAST_PORT}"
    steps = [f"add table {UNTRACKED}"]
    for number in _numbers(system):
        for chain, hook, device in (
            (f"{UNTRACKED_IN}{number}", "prerouting", "iif"),
            (f"out_{number}", "output", "oif"),
        ):
            steps.append(f"add chain {UNTRACKED} {chain} {{ type filter hook {hook} priority raw; }}")
            steps += [f"add rule {UNTRACKED} {chain} {device} {number} tcp {side} {ports} notrack"
                      for side in ("sport", "dport")]  # fmt: skip
    warned = f"NAT and rules by state do not know these connections any more; back: nft delete table {UNTRACKED}"
    return f"nft '{'; '.join(steps)}'  # {warned}"


def _nf_tables(system: System) -> Finding:
    found = system.ruleset
    if found is None:
        return unknown("only root may see them")
    if not found.hooks:
        return ok("none")
    said = f"{plural(found.rules, 'rule')} in {', '.join(found.tables)}{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    mend = (
        "nft list ruleset > /root/ruleset.nft && nft flush ruleset  "
        "# opens this machine to all, and ends NAT; back: nft -f /root/ruleset.nft"
    )
    if found.closed:
        return problem(f"{', '.join(found.closed)} drops all that comes by", mend)
    return warning(said, mend)


def _ip_tables(system: System) -> Finding:
    if any(system.files.path(name).exists() and system.files.read(name) is None for name in _TABLES.values()):
        return unknown("only root may see them")
    found = [(program, table) for program, name in _TABLES.items() for table in system.files.lines(name)]
    if not found:
        return ok("none")
    said = f"{', '.join(f'{table} ({program})' for program, table in found)}{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    saved = [f"{program}-save > /root/{program}.rules" for program in dict(found)]
    opened = [step for program, table in found for step in _open(system, program, table)]
    warned = "opens this machine to all, and ends NAT; back: PROGRAM-restore < /root/PROGRAM.rules"
    return warning(said, f"{' && '.join([*saved, *opened])}  # {warned}")


def _open(system: System, program: str, table: str) -> Iterator[str]:
    """Let all through, then forget the rules: the other way round a policy may cut the user off. Then unload."""
    yield from (f"{program} -t {table} -P {chain} ACCEPT" for chain in _HOOKS.get(table, ()))
    yield from (f"{program} -t {table} -{what}" for what in "FX")
    module = f"{'ip6table' if program.startswith('ip6') else 'iptable'}_{table}"
    if system.files.path(f"/sys/module/{module}/refcnt").exists():
        yield f"modprobe -r {module}"


def _bridges(system: System) -> Finding:
    """Look at the settings of bridges here.

    Those of a namespace made for the testbed begin as 1, whatever they are here (br_netfilter_hooks.c, since 5.3).
    """
    names = [f"net.bridge.bridge-nf-call-{which}" for which in ("iptables", "ip6tables")]
    values = {name: system.files.sysctl(name) for name in names}
    if all(value is None for value in values.values()):
        return ok("br_netfilter is not loaded")
    if not system.uses_own_network:
        if system.files.path("/sys/module/br_netfilter").exists():
            return warning("br_netfilter is loaded, for the testbed's switch, too", "modprobe -r br_netfilter")
        return warning("br_netfilter is part of this kernel, and works on the testbed's switch, too")
    if not system.files.matching("/sys/class/net/*/bridge"):
        return ok("there is no bridge")
    called = [name for name, value in values.items() if value == "1"]
    if not called:
        return ok("br_netfilter is loaded, and switched off")
    return warning(f"{' and '.join(called)}: 1", f"sysctl -w {' '.join(f'{name}=0' for name in called)}")


AREA: Final = Area(
    "What looks at packets",
    (
        Check(
            "firewall.conntrack", "connection tracking", "nothing is tracked on the servers' way",
            "each packet is looked up and each connection noted; when the table is full, new ones are dropped",
            _tracking,
        ),
        Check(
            "firewall.nf_tables", "rules of nf_tables", "no chain on the servers' way",
            "each packet meets each rule, in the softirq that a request is charged with", _nf_tables,
        ),
        Check(
            "firewall.ip_tables", "tables of iptables (legacy)", "none on the servers' way",
            "as with nf_tables, also where a table has no rule", _ip_tables,
        ),
        Check(
            "firewall.bridge", "firewall on bridges", "br_netfilter is not loaded",
            "packets that a bridge passes on go through the firewall, too", _bridges,
        ),
    ),
)  # fmt: skip
