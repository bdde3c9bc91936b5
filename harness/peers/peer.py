"""Which peers there are, what they can do, and what of the contract is asked of them."""

import os
import shutil
from dataclasses import dataclass

from harness.errors import BadInput
from harness.schema import Workload

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian puts servers; not on every user's PATH."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is not ours."""

    name: str
    """Of its program, too."""
    package: str
    """What brings it, on Debian."""
    workloads: tuple[Workload, ...]
    """Those it takes part in."""
    obligations: tuple[str, ...]
    """Ids of what is asked of it: what bears on the work that is measured. The rest is a matter of our own servers."""

    def find(self) -> str:
        """Return the path of its program. Raises BadInput when it is not installed."""
        path = shutil.which(self.name, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}")
        if path is None:
            raise BadInput(f"{self.name}: is not installed (Debian: apt-get install {self.package})")
        return path


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "nginx",
            "nginx-light",
            ("short", "keepalive"),
            (
                "PROC-PINNED",
                "PROC-START-CPU",
                "PROC-ALL-SERVE",
                "PROC-SIGTERM",
                "PROC-ORPHAN",
                "LISTEN-BACKLOG",
                "REPLY-LENGTH",
                "REPLY-ONE-PACKET",
                "CLOSE-FIRST",
                "KEEP-MANY",
                "MANY-1000",
            ),
        ),
        Peer(
            "haproxy",
            "haproxy",
            ("proxy",),
            (
                "PROXY-RELAY",
                "PROXY-LARGE-REPLY",
                "PROXY-LARGE-REQUEST",
                "PROXY-SPLIT-REQUEST",
                "PROXY-END-EOF",
                "PROXY-HALF-CLOSE",
            ),
        ),
    )
}
"""By name."""
