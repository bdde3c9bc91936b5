"""The command line of a server. A flag is spelled here and nowhere else."""

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from impls import __version__, cpus, privileges
from impls.addresses import MAX_ADDRESSES, Address, resolve
from impls.console import say
from impls.contract import DEFAULT_LISTEN_MODE, LISTEN_MODES, ListenMode, Options

MAX_WORKERS = 4096
MAX_CONNECTIONS = 1_000_000
MAX_DIGITS = 9
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 0.01, 86400
DEFAULT_ADDRESS = "0.0.0.0:80"
DEFAULT_LOG = "./demo.log"


def parse(argv: Sequence[str], name: str, library: str, *, exclusive: bool) -> Options:
    """Turn the command line of ``python -m impls.NAME`` into Options.

    ``library`` is what ``--version`` names beside percore, as in ``"trio 0.30"``; ``exclusive`` says whether listeners
    can be registered with EPOLLEXCLUSIVE there. On bad input one line goes to standard error and the process ends with
    status 2 (SystemExit).
    """
    parser = _parser(name, library, exclusive=exclusive)
    given = parser.parse_args(argv)
    try:
        return Options(
            cpus=cpus.plan(given.workers, given.start_cpu, oversubscribe=given.oversubscribe),
            addresses=_addresses("-a", given.addresses or [DEFAULT_ADDRESS]),
            listen_mode=given.listen_mode,
            backends=_addresses("-x", given.backends),
            keepalive=given.keepalive,
            lean=given.lean,
            log_file=given.log_file,
            verbose=given.verbose,
            debug=given.debug,
            connect_timeout_s=given.connect_timeout,
            reply_timeout_s=given.reply_timeout,
            idle_timeout_s=given.idle_timeout,
            backend_rest_s=given.backend_rest,
            max_connections=given.max_connections,
            grace_s=given.grace,
            user=None if given.user is None else privileges.find_user(given.user),
        )
    except ValueError as error:
        parser.error(str(error))


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: error: {message}")
        self.exit(2)


class _Version(argparse.Action):
    """Prints one line; argparse's own action would wrap it to the width of the terminal."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: str, help: str | None = None) -> None:  # noqa: A002  argparse's name
        super().__init__(option_strings, dest, nargs=0, const=const, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"{self.const}\n")
        parser.exit()


def _parser(name: str, library: str, *, exclusive: bool) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=f"impls.{name}",
        usage=f"python -m impls.{name} [flags]",
        description=f"A TCP server on {library}: answers 200 OK to whatever arrives, or with -x relays to a backend. "
        "One worker process for each CPU, bound to it; each accepts connections on its own.",
        epilog="Every second the requests answered in that second go to standard error as 'Request/s N'. "
        "SIGTERM and SIGINT end the server when what is under way has finished, SIGINT once more ends it at once; "
        "SIGHUP opens the log file anew. A worker that dies is replaced. Exit status: 0 after a signal, 2 for bad "
        "input, 1 when a worker died again and again.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-w", "--workers", metavar="N", type=_count, help="worker processes (default: one for each CPU from -c on)")
    add("-c", "--start-cpu", metavar="CPU", type=_cpu, help="CPU of the first worker (default: the lowest allowed)")
    add("--oversubscribe", action="store_true", help="let more workers than CPUs share CPUs")
    add(
        "-a",
        "--address",
        metavar="IP:PORT",
        nargs="+",
        action="extend",
        default=[],
        dest="addresses",
        help=f"listen addresses, IPv6 as [::1]:80; may repeat, {MAX_ADDRESSES} at most (default: {DEFAULT_ADDRESS})",
    )
    add(
        "--listen",
        metavar="MODE",
        type=_listen_mode(library, exclusive=exclusive),
        default=DEFAULT_LISTEN_MODE,
        dest="listen_mode",
        help="how workers share the listen addresses. shared: one socket, all are woken; exclusive: one socket, few "
        "are woken (EPOLLEXCLUSIVE); reuseport: a socket for each worker; percpu: likewise, and a connection goes to "
        "the worker on the CPU that has received its SYN (default: %(default)s)",
    )
    add(
        "-x",
        "--backend",
        metavar="IP:PORT",
        nargs="+",
        action="extend",
        default=[],
        dest="backends",
        help="proxy mode: relay to these backends in turn; may be repeated (default: server mode)",
    )
    add("-k", "--keepalive", action="store_true", help="keep the connection open for the next request")
    add("--lean", action="store_true", help="save TCP segments: deferred accept, no quick ACKs, corked replies")
    add("-o", "--log-file", metavar="FILE", default=DEFAULT_LOG, help="log file, appended to (default: %(default)s)")
    add("-v", "--verbose", action="store_true", help="every second a line for each worker beside the total")
    add("-d", "--debug", action="store_true", help="log every accept, read, write and close, received bytes escaped")
    _add_limits(parser)
    add("--user", metavar="NAME", help="run as this user, once the ports are open (default: as started)")
    add(
        "--version",
        action=_Version,
        const=f"percore {__version__}, impls.{name} on {library}, "
        f"{platform.python_implementation()} {platform.python_version()}",
        help="say which library and version runs",
    )
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    for flag, default, meaning in (
        ("--connect-timeout", 3.0, "how long a backend may take to accept a connection"),
        ("--reply-timeout", 30.0, "how long a backend may stay silent while it owes a reply"),
        ("--idle-timeout", 60.0, "how long a connection may carry nothing before it is closed"),
        ("--backend-rest", 1.0, "how long a backend that refused is left out"),
        ("--grace", 1.0, "after SIGTERM, how long what is under way may take to finish"),
    ):
        kind = _grace if flag == "--grace" else _seconds
        parser.add_argument(
            flag, metavar="SECONDS", type=kind, default=default, help=f"{meaning} (default: %(default)g)"
        )
    parser.add_argument(
        "--max-connections",
        metavar="N",
        type=_connections,
        default=65536,
        help="clients' connections that a worker holds; with so many it accepts no more (default: %(default)s)",
    )


def _addresses(flag: str, texts: Sequence[str]) -> tuple[Address, ...]:
    if len(texts) > MAX_ADDRESSES:
        raise ValueError(f"{flag}: {len(texts)} addresses given; at most {MAX_ADDRESSES} are allowed")
    found = []
    for text in texts:
        try:
            found.append(resolve(text))
        except ValueError as error:
            raise ValueError(f"{flag} {text}: {error}") from None
    return tuple(found)


def _listen_mode(library: str, *, exclusive: bool) -> Callable[[str], ListenMode]:
    """Make the reader of a listen mode. Where it says no, it does so before ``--version`` is obeyed."""
    possible = [mode for mode in LISTEN_MODES if exclusive or mode != "exclusive"]

    def read(text: str) -> ListenMode:
        for mode in possible:
            if text == mode:
                return mode
        choice = f"give {', '.join(possible[:-1])} or {possible[-1]}"
        if text in LISTEN_MODES:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not possible on {library}, which registers listeners itself, without EPOLLEXCLUSIVE; "
                f"{choice}"
            )
        raise argparse.ArgumentTypeError(f"{text!r} is not a listen mode; {choice}")

    return read


def _count(text: str) -> int:
    if not (_is_number(text) and 1 <= int(text) <= MAX_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {MAX_WORKERS}")
    return int(text)


def _connections(text: str) -> int:
    if not (_is_number(text) and 1 <= int(text) <= MAX_CONNECTIONS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of connections from 1 to {MAX_CONNECTIONS}")
    return int(text)


def _cpu(text: str) -> int:
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a CPU, as in 0")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def _seconds(text: str) -> float:
    return _duration(text, MIN_TIMEOUT_S)


def _grace(text: str) -> float:
    return _duration(text, 0)


def _duration(text: str, shortest_s: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not shortest_s <= value <= MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {shortest_s} to {MAX_TIMEOUT_S}")
    return value
