"""The flags of CONTRACT.md, as a peer takes them; ``impls``, where those of our own are, the harness never imports."""

import argparse
import grp
import os
import pwd
import resource
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness import ports
from harness.errors import BadInput
from harness.peers.peer import Peer

BACKLOG = 8192
EXIT_BAD_INPUT = 2
_MOST_WORKERS = 4096
_MOST_CONNECTIONS = 1_000_000
_LEAST_SECONDS, _MOST_SECONDS = 0.01, 86400


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line asked for, checked."""

    cpus: tuple[int, ...]
    """Worker i is bound to ``cpus[i]``; the length is the number of workers."""
    addresses: tuple[str, ...]
    backends: tuple[str, ...]
    """Both with IP addresses, as in ``127.0.0.1:80`` and ``[::1]:80``."""
    keepalive: bool
    lean: bool
    log_file: Path
    connect_timeout_s: float
    reply_timeout_s: float
    idle_timeout_s: float
    max_connections: int
    """Of each worker."""
    user: "User | None"
    """Whom the workers run as; None: whoever started them."""
    descriptors: int
    """How many files it may have open; the soft limit is raised to it."""


def parse(peer: Peer, argv: Sequence[str]) -> Flags:
    """Read a command line. Raises BadInput; what argparse sees itself ends the process, with a line and status 2."""
    given = _parser(peer).parse_args(argv)
    if given.version:
        sys.stdout.write(f"{_version(peer)}\n")
        sys.exit()
    flags = Flags(
        cpus=_cpus(given.workers, given.start_cpu, oversubscribe=given.oversubscribe),
        addresses=_addresses("-a", given.addresses or ["0.0.0.0:80"]),
        backends=_addresses("-x", given.backends),
        keepalive=given.keepalive,
        lean=given.lean,
        log_file=given.log_file,
        connect_timeout_s=given.connect_timeout,
        reply_timeout_s=given.reply_timeout,
        idle_timeout_s=given.idle_timeout,
        max_connections=given.max_connections,
        user=_user(given.user),
        descriptors=_raise_limit(),
    )
    _check_mode(peer, flags)
    _check_log(flags.log_file)
    return flags


@dataclass(frozen=True, slots=True)
class User:
    """A user, with his group, by name."""

    name: str
    group: str


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {' '.join(message.split())}\n")


def _parser(peer: Peer) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=f"harness.peers.{peer.name}",
        description=f"{peer.name}, with the flags of CONTRACT.md, for the workloads {', '.join(peer.workloads)}. "
        "It prints no statistics. What it is configured with is in a folder beside the log file.",
        allow_abbrev=False,
    )
    add, without_effect = parser.add_argument, "taken, without effect on a peer"
    add("-w", "--workers", metavar="N", type=_count, help="workers (default: one for each CPU from -c on)")
    add("-c", "--start-cpu", metavar="CPU", type=int, help="CPU of the first worker (default: the lowest allowed)")
    add("--oversubscribe", action="store_true", help="let more workers than CPUs share CPUs")
    for short, long, name in (("-a", "--address", "addresses"), ("-x", "--backend", "backends")):
        add(short, long, dest=name, metavar="IP:PORT", nargs="+", action="extend", default=[], help="may repeat")
    add("-k", "--keepalive", action="store_true", help="keep the connection open for the next request")
    add("-o", "--log-file", metavar="FILE", type=Path, default=Path("demo.log"), help="(default: %(default)s)")
    add("-v", "--verbose", action="store_true", help=without_effect)
    add("-d", "--debug", action="store_true", help=without_effect)
    add("--connect-timeout", metavar="SECONDS", type=_seconds, default=3.0, help="(default: %(default)g)")
    add("--reply-timeout", metavar="SECONDS", type=_seconds, default=30.0, help="(default: %(default)g)")
    add("--idle-timeout", metavar="SECONDS", type=_seconds, default=60.0, help="(default: %(default)g)")
    add("--max-connections", metavar="N", type=_connections, default=65536, help="a worker (default: %(default)s)")
    for flag in ("--grace", "--backend-rest"):
        add(flag, metavar="SECONDS", type=_seconds_or_none, help=without_effect)
    add("--user", metavar="NAME", help="run the workers as this user (default: as started)")
    add("--lean", action="store_true", help="the options it has for fewer packets a connection")
    add("--version", action="store_true", help="say which version runs")
    return parser


def _version(peer: Peer) -> str:
    """Return the first line that the program tells of itself, which nginx does on standard error. Raises BadInput."""
    done = subprocess.run([peer.find(), "-v"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0]


def _cpus(workers: int | None, start: int | None, *, oversubscribe: bool) -> tuple[int, ...]:
    """Choose a CPU for each worker, from those that this process may use. Raises BadInput."""
    allowed = sorted(os.sched_getaffinity(0))
    first = allowed[0] if start is None else start
    if first not in allowed:
        raise BadInput(f"-c {first}: this process may not use CPU {first}; allowed: {', '.join(map(str, allowed))}")
    usable = allowed[allowed.index(first) :]
    count = workers or len(usable)
    if count > len(usable) and not oversubscribe:
        raise BadInput(f"-w {count}: there are {len(usable)} CPUs from CPU {first} on; give less, or --oversubscribe")
    return tuple(usable[i % len(usable)] for i in range(count))


def _addresses(flag: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_resolved(flag, text) for text in texts)


def _resolved(flag: str, text: str) -> str:
    """Look a host name up, once. Raises BadInput."""
    try:
        host, port = ports.split(text)
        [(*_, found), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (ValueError, OverflowError):
        raise BadInput(f"{flag} {text}: give IP:PORT, as in 127.0.0.1:8080 or [::1]:8080") from None
    except socket.gaierror as error:
        raise BadInput(f"{flag} {text}: unknown host: {error.strerror}; give IP:PORT") from None
    return ports.join(str(found[0]), port)


def _user(name: str | None) -> User | None:
    """Find out now whether the workers can run as a user; None where they do so anyway. Raises BadInput."""
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
        user = User(name, grp.getgrgid(entry.pw_gid).gr_name)
    except (KeyError, ValueError):  # ValueError: a name with a zero byte
        raise BadInput(f"--user {name}: there is no such user; give one that 'getent passwd' shows") from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid():
        raise BadInput(f"--user {name}: only root may become another user; start it as root, or as {name}")
    return user


def _raise_limit() -> int:
    """Let this process, and what it becomes, have as many files open as the kernel lets this user have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # ValueError: only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return most


def _check_mode(peer: Peer, flags: Flags) -> None:
    if flags.backends and "proxy" not in peer.workloads:
        raise BadInput(f"-x: {peer.name} takes no part as a proxy here; leave it out")
    if not flags.backends and peer.workloads == ("proxy",):
        raise BadInput(f"-x: {peer.name} takes part as a proxy alone; give it a backend, as in -x 127.0.0.1:8081")


def _check_log(path: Path) -> None:
    try:
        path.open("ab").close()
    except OSError as error:
        raise BadInput(f"-o {path}: cannot be written: {error.strerror}") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_WORKERS)) and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {_MOST_WORKERS}")
    return int(text)


def _connections(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_CONNECTIONS)) and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of connections from 1 to {_MOST_CONNECTIONS}")
    return min(int(text), _MOST_CONNECTIONS)


def _seconds(text: str) -> float:
    return _duration(text, _LEAST_SECONDS)


def _seconds_or_none(text: str) -> float:
    return _duration(text, 0.0)


def _duration(text: str, least_s: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least_s <= value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {least_s:g} to {_MOST_SECONDS}")
    return value
