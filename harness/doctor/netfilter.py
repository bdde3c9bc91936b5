"""The rules that nf_tables has for packets, by netlink; those of iptables-nft are among them. Takes CAP_NET_ADMIN."""

import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

_FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
"""Those that see TCP (NFPROTO_, include/uapi/linux/netfilter.h); ARP's is another."""
UNTRACKED: Final = "inet untracked"
"""The table of what mends connection tracking (``packet_filters.py``), which is no firewall."""
_ABSENT: Final = {errno.EINVAL, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP}
"""What the kernel answers that was built without nfnetlink or without nf_tables."""


@dataclass(frozen=True)
class Ruleset:
    """What packets may meet."""

    hooks: int = 0
    """Chains that packets go through by themselves."""
    rules: int = 0
    """Of all chains of tables that have such a chain."""
    tables: tuple[str, ...] = ()
    """These tables, as in ``inet filter``."""


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
    """Count what is on the packets' way."""
    bases = [_table(chain, "NFTA_CHAIN_TABLE") for chain in chains if chain.get_attr("NFTA_CHAIN_HOOK") is not None]
    bases = [table for table in bases if table and table != UNTRACKED]
    of_rules = [_table(rule, "NFTA_RULE_TABLE") for rule in rules]
    return Ruleset(
        hooks=len(bases),
        rules=sum(table in bases for table in of_rules),
        tables=tuple(sorted(set(filter(None, bases)))),
    )


def _table(message: Any, attribute: str) -> str | None:
    """Name the table that a chain or rule is in; None where TCP does not come by."""
    family = _FAMILIES.get(message["nfgen_family"])
    return f"{family} {message.get_attr(attribute)}" if family else None
