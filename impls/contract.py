"""The contract in code: flags, reply bytes and limits. A flag is spelled here and nowhere else.

What each of them obliges an implementation to is written down, with an id each, in CONTRACT.md.
"""

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from impls import __version__, cpus
from impls.addresses import MAX_ADDRESSES, Address, resolve
from impls.console import say

BODY = b"<html><body><h1>200 OK</h1><p>percore answers</p></body></html>"


def _reply(status: bytes, connection: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.0 %b\r\nCache-Control: no-cache\r\nConnection: %b\r\n"
        b"Content-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (status, connection, len(body), body)
    )


REPLY_CLOSE = _reply(b"200 OK", b"close", BODY)
REPLY_KEEP_ALIVE = _reply(b"200 OK", b"keep-alive", BODY)
BAD_GATEWAY = _reply(b"502 Bad Gateway", b"close", b"no backend took the request\n")
GATEWAY_TIMEOUT = _reply(b"504 Gateway Timeout", b"close", b"the backend did not answer in time\n")

READ_SIZE = 4096
"""Bytes a server asks for in one read. What one read returns is one message."""
RELAY_SIZE = 65536
"""Bytes a proxy asks for in one read."""
BACKLOG = 8192
"""What listen(2) is asked for; the kernel caps it at net.core.somaxconn."""
MAX_WORKERS = 4096
MAX_DIGITS = 9
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 0.01, 86400
DEFAULT_LISTEN = "0.0.0.0:80"
DEFAULT_LOG = "./demo.log"
LINGER_S = 2.0
"""How long a server that has ended its stream reads on, so that no reset destroys the reply on its way."""
STOP_WITHIN_S = 2.0
"""After SIGINT or SIGTERM nothing of the server is left after this long."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for, checked and resolved."""

    cpus: tuple[int, ...]
    """Worker i is bound to ``cpus[i]``; the length is the number of workers."""
    listen: tuple[Address, ...]
    backends: tuple[Address, ...]
    """Empty in server mode."""
    keepalive: bool
    lean: bool
    """Whether listeners and backend sockets save segments, as DESIGN.md explains."""
    log_file: str
    verbose: bool
    debug: bool
    connect_timeout_s: float
    reply_timeout_s: float

    @property
    def reply(self) -> bytes:
        """The bytes that answer one message in server mode."""
        return REPLY_KEEP_ALIVE if self.keepalive else REPLY_CLOSE


def parse(argv: Sequence[str], name: str, library: str) -> Options:
    """Turn the command line of ``python -m impls.NAME`` into Options.

    ``library`` is what ``--version`` names beside percore, as in ``"trio 0.30"``. On bad input one line
    goes to standard error and the process ends with status 2 (SystemExit).
    """
    parser = _parser(name, library)
    given = parser.parse_args(argv)
    try:
        return Options(
            cpus=cpus.plan(given.workers, given.start_cpu, oversubscribe=given.oversubscribe),
            listen=_addresses("-a", given.listen or [DEFAULT_LISTEN]),
            backends=_addresses("-x", given.backends),
            keepalive=given.keepalive,
            lean=given.lean,
            log_file=given.log_file,
            verbose=given.verbose,
            debug=given.debug,
            connect_timeout_s=given.connect_timeout,
            reply_timeout_s=given.reply_timeout,
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


def _parser(name: str, library: str) -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=f"impls.{name}",
        usage=f"python -m impls.{name} [flags]",
        description=f"A TCP server on {library}: answers 200 OK to whatever arrives, or with -x relays to a backend. "
        "One worker process for each CPU, bound to it; each accepts connections on its own.",
        epilog="Every second the requests answered in that second go to standard error as 'Request/s N'. "
        "SIGINT and SIGTERM end all workers. Exit status: 0 after a signal, 2 for bad input, 1 when a worker died.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-w", "--workers", metavar="N", type=_count, help="worker processes (default: one for each CPU from -c on)")
    add("-c", "--start-cpu", metavar="CPU", type=_cpu, help="CPU of the first worker (default: the lowest allowed)")
    add("--oversubscribe", action="store_true", help="let more workers than CPUs share CPUs")
    add(
        "-a",
        "--listen",
        metavar="IP:PORT",
        nargs="+",
        action="extend",
        default=[],
        help=f"listen addresses, IPv6 as [::1]:80; may repeat, {MAX_ADDRESSES} at most (default: {DEFAULT_LISTEN})",
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
    add(
        "--connect-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=3.0,
        help="how long a backend may take to accept a connection (default: %(default)g)",
    )
    add(
        "--reply-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="how long a backend may stay silent while it owes a reply (default: %(default)g)",
    )
    add(
        "--version",
        action=_Version,
        const=f"percore {__version__}, impls.{name} on {library}, "
        f"{platform.python_implementation()} {platform.python_version()}",
        help="say which library and version runs",
    )
    return parser


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


def _count(text: str) -> int:
    if not (_is_number(text) and 1 <= int(text) <= MAX_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {MAX_WORKERS}")
    return int(text)


def _cpu(text: str) -> int:
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a CPU, as in 0")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not MIN_TIMEOUT_S <= value <= MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S}")
    return value
