"""The rules that nf_tables has for packets, by netlink; those of iptables-nft are among them. Takes CAP_NET_ADMIN."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
"""Those that see TCP (NFPROTO_, include/uapi/linux/netfilter.h); ARP's is another."""
UNTRACKED: Final = "inet untracked"
"""The table of what mends connection tracking (``packet_filters.py``), which is no firewall."""
UNTRACKED_IN: Final = "in_"
"""How its chains are named for what comes in, with the number of the device behind it."""
_FORWARD: Final = 2
"""The hook of packets that are passed on (NF_INET_FORWARD, NF_BR_FORWARD), which a server's do not come by."""
_OF_DEVICE: Final = 5
"""The family whose hooks have other numbers."""
_DROP: Final = 0
_TRACKERS: Final = {"ct", "flow_offload", "masq", "nat", "redir", "synproxy"}
"""Expressions for which the kernel tracks connections (nf_ct_netns_get in net/netfilter)."""
_TRACKING_MATCHES: Final = {"connbytes", "connlimit", "connmark", "conntrack", "state"}
"""The same of iptables-nft."""
_ABSENT: Final = {errno.EINVAL, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP}
"""What the kernel answers that was built without nfnetlink or without nf_tables."""


@dataclass(frozen=True)
class Ruleset:
    """What packets may meet."""

    hooks: int = 0
    """Chains that a server's packets go through by themselves."""
    rules: int = 0
    """Of all chains of tables that have such a chain."""
    tables: tuple[str, ...] = ()
    """These tables, as in ``inet filter``."""
    closed: tuple[str, ...] = ()
    """Those of the chains that drop all, as they have no rule, as in ``inet filter input``."""
    tracks: bool = False
    """Whether some rule has the kernel track connections."""
    untracked: tuple[int, ...] = ()
    """The numbers of devices on which the servers' connections are not tracked."""


def read() -> Ruleset | None:
    """Read what this network namespace has; None where this process may not know."""
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415  loaded by who needs it
    from pyroute2.nftables.main import NFTables  # noqa: PLC0415  see above

    try:
        with NFTables(nfgen_family=socket.AF_UNSPEC) as tables:  # else of IPv4 alone
            return _sorted_out(tables.get_chains(), tables.get_rules())
    except NetlinkError as refused:
        return Ruleset() if refused.code in _ABSENT else None
    except OSError as refused:
        return Ruleset() if refused.errno in _ABSENT else None


def _sorted_out(chains: Any, rules: Any) -> Ruleset:
    """Tell what is on the packets' way."""
    named = {_chain(chain, "NFTA_CHAIN_TABLE", "NFTA_CHAIN_NAME"): chain for chain in chains}
    of_rules = [_chain(rule, "NFTA_RULE_TABLE", "NFTA_RULE_CHAIN") for rule in rules]
    bases = {where for where, chain in named.items() if where[0] not in {None, UNTRACKED} and _is_on_the_way(chain)}
    tables = {table for table, _ in bases}
    closed = {where for where in bases - set(of_rules) if named[where].get_attr("NFTA_CHAIN_POLICY") == _DROP}
    return Ruleset(
        hooks=len(bases),
        rules=sum(table in tables for table, _ in of_rules),
        tables=tuple(sorted(filter(None, tables))),
        closed=tuple(sorted(f"{table} {name}" for table, name in closed)),
        tracks=any(map(_tracks, rules)) or any(one.get_attr("NFTA_CHAIN_TYPE") == "nat" for one in chains),
        untracked=tuple(sorted(_untracked(of_rules))),
    )


def _is_on_the_way(chain: Any) -> bool:
    hook = chain.get_attr("NFTA_CHAIN_HOOK")
    if hook is None:
        return False
    return bool(chain["nfgen_family"] == _OF_DEVICE or hook.get_attr("NFTA_HOOK_HOOKNUM") != _FORWARD)


def _tracks(rule: Any) -> bool:
    for expression in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ():
        name, data = expression.get_attr("NFTA_EXPR_NAME"), expression.get_attr("NFTA_EXPR_DATA")
        if name in _TRACKERS:
            return True
        if name == "match" and data is not None and data.get_attr("NFTA_MATCH_NAME") in _TRACKING_MATCHES:
            return True
    return False


def _untracked(of_rules: Iterable[tuple[str | None, str]]) -> set[int]:
    names = {name.removeprefix(UNTRACKED_IN) for table, name in of_rules if table == UNTRACKED}
    return {int(name) for name in names if name.isdigit()}


def _chain(message: Any, table: str, name: str) -> tuple[str | None, str]:
    return _table(message, table), message.get_attr(name)


def _table(message: Any, attribute: str) -> str | None:
    """Name the table that a chain or rule is in; None where TCP does not come by."""
    family = _FAMILIES.get(message["nfgen_family"])
    return f"{family} {message.get_attr(attribute)}" if family else None
