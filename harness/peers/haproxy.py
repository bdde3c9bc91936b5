"""HAProxy as a relay of bytes (``mode tcp``): ``python -m harness.peers.haproxy FLAGS`` becomes it.

Its workers are threads of one process.

What its documentation offers for speed was measured against the plain configuration, one run with a copy of this file
for each (``harness compare --impls none --workloads proxy --external plain=... --external nolinger=... --blocks 4
--budget 90s``; two-core virtual machine, Linux 6.18, netns), CPU per request, 95 % interval:

- ``option nolinger``: 0.988 (0.948 to 1.028). In a ``listen`` section it resets the client's side as well, and destroys
  the end of a reply (PROXY-HALF-CLOSE).
- ``tune.bufsize 4096`` with ``tune.maxpollevents 64``: 0.990 (0.927 to 1.070).
- ``option tcp-smart-accept`` with ``option tcp-smart-connect``: 0.997 (0.963 to 1.030), one segment less.

None is told from 1, so none is set; the last are what ``--lean`` sets.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.peers.flags import BACKLOG, Flags
from harness.peers.program import run

_SPARE_DESCRIPTORS = 256
_MS_PER_S = 1000


def prepare(flags: Flags, folder: Path) -> Sequence[str]:
    """Write the configuration, and bind the process to the CPUs of its threads.

    HAProxy 2.6 does not obey a ``cpu-map`` for its first thread alone: one thread is bound with its process. With more
    threads than CPUs they share those, unbound.
    """
    os.sched_setaffinity(0, flags.cpus)
    configuration = folder / "haproxy.cfg"
    configuration.write_text(configure(flags))
    return ["-db", "-f", str(configuration)]


def configure(flags: Flags) -> str:
    """Return haproxy.cfg, as fast as HAProxy's documentation says."""
    threads = len(flags.cpus)
    bound = 1 < threads == len({*flags.cpus})
    pinned = f"\n  cpu-map auto:1/1-{threads} {' '.join(map(str, flags.cpus))}" * bound
    # Two descriptors a connection.
    connections = min(flags.max_connections * threads, (flags.descriptors - _SPARE_DESCRIPTORS) // 2)
    user = f"\n  user {flags.user.name}\n  group {flags.user.group}" if flags.user else ""
    defer = " defer-accept" * flags.lean
    listen = "\n".join(f"  bind {address} backlog {BACKLOG}{defer}" for address in flags.addresses)
    backends = "\n".join(f"  server backend-{i} {address}" for i, address in enumerate(flags.backends))
    smart = "\n  option tcp-smart-accept\n  option tcp-smart-connect" * flags.lean
    return f"""global
  nbthread {threads}{pinned}
  maxconn {connections}{user}
defaults
  mode tcp
  maxconn {connections}
  timeout connect {flags.connect_timeout_s * _MS_PER_S:.0f}ms
  timeout client {flags.idle_timeout_s * _MS_PER_S:.0f}ms
  timeout server {flags.reply_timeout_s * _MS_PER_S:.0f}ms{smart}
listen relay
{listen}
  balance roundrobin
{backends}
"""


if __name__ == "__main__":
    run("haproxy", prepare)
