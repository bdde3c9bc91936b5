"""nginx as a server: ``python -m harness.peers.nginx FLAGS`` becomes its master process.

nginx does not read bytes but HTTP requests, and its reply has fields of its own (``Server``, ``Date``).
"""

import os
import select
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.peers.flags import BACKLOG, Flags
from harness.peers.program import run

_BODY = "<html><body><h1>200 OK</h1><p>nginx answering</p></body></html>"
"""As long as that of our own servers."""
_CONNECTIONS = 20_000
_SPARE_DESCRIPTORS = 64
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""nginx makes a folder for each at start; the built-in places are root's."""


def prepare(flags: Flags, folder: Path) -> Sequence[str]:
    """Write the configuration, and see to it that no worker is left behind."""
    configuration = folder / "nginx.conf"
    configuration.write_text(configure(flags, folder))
    _end_workers_with_this_process()
    return ["-p", str(folder), "-e", str(flags.log_file.absolute()), "-c", str(configuration)]


def configure(flags: Flags, folder: Path) -> str:
    """Return nginx.conf, as fast as nginx's documentation says."""
    masks = " ".join(f"1{'0' * cpu}" for cpu in flags.cpus)
    deferred = " deferred" * flags.lean
    # "Allows a kernel to distribute incoming connections between worker processes."
    reuseport = " reuseport" * (len(flags.cpus) > 1)
    listen = "\n".join(f"    listen {address} backlog={BACKLOG}{reuseport}{deferred};" for address in flags.listen)
    temporary = "\n".join(f"  {name}_temp_path {_quoted(folder / name)};" for name in _TEMPORARY)
    connections = min(_CONNECTIONS, flags.descriptors - _SPARE_DESCRIPTORS)
    user = "user root root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes {len(flags.cpus)};
worker_cpu_affinity {masks};
pid {_quoted(folder / "nginx.pid")};
error_log {_quoted(flags.log_file.absolute())} warn;
events {{
  use epoll;
  worker_connections {connections};
  accept_mutex off;
  multi_accept off;
}}
http {{
{temporary}
  access_log off;
  server_tokens off;
  default_type text/html;
  tcp_nodelay on;
  client_header_timeout 1h;
  keepalive_timeout {"1h" if flags.keepalive else "0"};
  keepalive_requests 1000000000;
  server {{
{listen}
    location / {{ return 200 "{_BODY}"; }}
  }}
}}
"""


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _end_workers_with_this_process() -> None:
    """Leave a process that kills nginx's workers when the master, which this process becomes, has ended.

    They notice the end of their master only by its signals, and a master that is killed sends none. What waits for
    that is in a session of its own, so it does not count as a process of the server.
    """
    master = os.getpid()
    ended = os.pidfd_open(master)
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.poll()
    with suppress(ProcessLookupError):
        os.killpg(master, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    run("nginx", prepare)
