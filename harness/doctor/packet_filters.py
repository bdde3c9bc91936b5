"""What looks at packets on their way: firewalls, connection tracking."""

from typing import Final

from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.netfilter import UNTRACKED
from harness.doctor.system import System
from harness.report.figures import plural

FULL_SHARE: Final = 0.8
"""Of the connections that can be tracked: each stays for two minutes after its end, so the rest is soon gone."""
_COUNT: Final = "net.netfilter.nf_conntrack_count"
_UNTRACKED: Final = (
    f"nft 'add table {UNTRACKED}; "
    f"add chain {UNTRACKED} in {{ type filter hook prerouting priority raw; }}; "
    f"add chain {UNTRACKED} out {{ type filter hook output priority raw; }}; "
    f"add rule {UNTRACKED} in notrack; add rule {UNTRACKED} out notrack'"
)


def _elsewhere(system: System) -> str:
    return "" if system.uses_own_network else "; hosts of the testbed netns are not concerned"


def _tracking(system: System) -> Finding:
    count, most = system.files.sysctl_number(_COUNT), system.files.sysctl_number("net.netfilter.nf_conntrack_max")
    if count is None:
        return ok("the kernel has none, or it is not loaded")
    if not count:
        return ok("nothing is tracked")
    said = f"{count:,} connections, and {most or 0:,} can be{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    return problem(said, _UNTRACKED) if most and count > FULL_SHARE * most else warning(said, _UNTRACKED)


def _nf_tables(system: System) -> Finding:
    found = system.ruleset
    if found is None:
        return unknown("only root may see them")
    if not found.rules:
        return ok("none")
    said = f"{plural(found.rules, 'rule')} in {', '.join(found.tables)}{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    return warning(said, "nft list ruleset > /root/ruleset.nft && nft flush ruleset  # back: nft -f /root/ruleset.nft")


def _ip_tables(system: System) -> Finding:
    names = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")
    if any(system.files.path(name).exists() and system.files.read(name) is None for name in names):
        return unknown("only root may see them")
    found = [
        (program, table)
        for program, name in zip(("iptables-legacy", "ip6tables-legacy"), names, strict=True)
        for table in system.files.lines(name)
    ]
    if not found:
        return ok("none")
    said = f"{', '.join(f'{table} ({program})' for program, table in found)}{_elsewhere(system)}"
    if not system.uses_own_network:
        return ok(said)
    saved = "; ".join(f"{program}-save > /root/{program}.rules" for program in dict(found))
    flushed = "; ".join(f"{program} -t {table} -F" for program, table in found)
    return warning(said, f"{saved}; {flushed}")


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
            "firewall.nf_tables", "rules of nf_tables", "none on the servers' way",
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
