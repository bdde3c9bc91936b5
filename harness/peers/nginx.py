"""nginx as a server: ``python -m harness.peers.nginx FLAGS`` becomes its master process.

nginx does not read bytes but HTTP requests, and its reply has fields of its own (``Server``, ``Date``).

What its documentation offers for speed was measured against the same without it, one run with a copy of this file for
each (``harness compare --impls none --workloads short,keepalive --external plain=... --external multi=... --blocks 4
--budget 90s``; two-core virtual machine, Linux 6.18, netns, one worker), requests/s on ``short`` and on ``keepalive``,
95 % interval:

- ``multi_accept on``: 1.176 (1.092 to 1.251) and 0.969 (0.920 to 1.017), so it is set; all have 5 + 5 segments.
- ``accept_mutex on``: 0.978 (0.931 to 1.026) and 0.985 (0.941 to 1.033).
- ``reuseport``: 1.013 (0.974 to 1.054) and 0.962 (0.916 to 1.010); set for several workers.
- ``lingering_close off``: 0.995 (0.956 to 1.036) and 0.964 (0.921 to 1.009).
- ``master_process off``: 1.010 (0.967 to 1.055) and 0.976 (0.928 to 1.025).
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
_OWN_CONNECTIONS = 16
"""What a worker has beside those of clients counts as well: its listeners, and its channel to the master."""
_MS_PER_S = 1000
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
    listen = "\n".join(f"    listen {address} backlog={BACKLOG}{reuseport}{deferred};" for address in flags.addresses)
    temporary = "\n".join(f"  {name}_temp_path {_quoted(folder / name)};" for name in _TEMPORARY)
    connections = min(flags.max_connections + _OWN_CONNECTIONS, flags.descriptors - _SPARE_DESCRIPTORS)
    as_started = "user root root;" if os.geteuid() == 0 else ""
    user = f"user {flags.user.name} {flags.user.group};" if flags.user else as_started
    idle = f"{flags.idle_timeout_s * _MS_PER_S:.0f}ms"
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
  multi_accept on;
}}
http {{
{temporary}
  access_log off;
  server_tokens off;
  default_type text/html;
  tcp_nodelay on;
  client_header_timeout {idle};
  send_timeout {idle};
  keepalive_timeout {idle if flags.keepalive else "0"};
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

    They notice the end of their master only by its signals, and a master that is killed sends none. They are known by
    a pipe that they inherit: a process group they may share with whoever started the master. What waits is in a session
    of its own, so it does not count as a process of the server.
    """
    ended = os.pidfd_open(os.getpid())
    mark, other_end = os.pipe()
    os.close(other_end)
    os.set_inheritable(mark, True)  # noqa: FBT003  no other way to pass it
    pipe = os.readlink(f"/proc/self/fd/{mark}")  # noqa: PTH115  no path
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(mark)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.poll()
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it is closed meanwhile, or another user's
            if os.readlink(fd) == pipe:  # noqa: PTH115  no path
                os.kill(int(fd.parts[2]), signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    run("nginx", prepare)
