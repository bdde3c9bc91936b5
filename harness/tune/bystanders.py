"""What is in the way of a tuned machine, and is the user's to end: irqbalance, and who looks at each packet."""

from collections.abc import Iterator
from pathlib import Path


def find(root: Path) -> Iterator[str]:
    """Yield a sentence for each that is there."""
    if any(_read(path) == "irqbalance" for path in root.glob("proc/[0-9]*/comm")):
        yield "irqbalance runs, and moves interrupts to other CPUs again; end it: systemctl stop irqbalance"
    tables = [
        f"{table} ({kind})"
        for kind, name in (("iptables", "ip_tables_names"), ("ip6tables", "ip6_tables_names"))
        for table in _read(root / "proc/net" / name).split()
    ]
    if tables:
        yield f"a firewall looks at each packet: {', '.join(tables)}; see iptables-save, and take out what may be"
    if _read(root / "proc/sys/net/netfilter/nf_conntrack_count") not in {"", "0"}:
        yield "connections are tracked (nf_conntrack), each of which takes time and memory; see nft list ruleset"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
