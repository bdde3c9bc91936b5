"""Addresses for servers under test that nothing else takes, however many harnesses run side by side.

All of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3), so on IPv4 each reservation is a loopback address of its own.
What holds it is a lock and not a bound socket, so that a server without SO_REUSEADDR can bind it too: a Unix socket
named after the address in the abstract namespace, which like TCP's belongs to the network namespace, and which the
kernel lets go of when the process ends. Ports are taken from below the range that the kernel gives out by itself.
"""

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIRST_PORT, LAST_PORT = 10_000, 65_535
FIRST_LOCAL_PORT = 16_384
"""Where a range of local ports may begin that leaves room for servers below it."""
_LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ATTEMPTS = 100


@contextmanager
def reserve(host: str) -> Iterator[str]:
    """Hold an address: ``127.x.y.z:PORT`` for ``127.0.0.1``, ``[::1]:PORT`` for ``::1``.

    Raises OSError when the host is not this machine's, and when no address was free.
    """
    for _ in range(_ATTEMPTS):
        family, address = _candidate(host)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
            try:
                lock.bind(f"\0percore {_lock_name(address)}")
                _try(family, address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            yield address
            return
    raise OSError(errno.EADDRINUSE, f"no free port found on {host}")


def split(address: str) -> tuple[str, int]:
    """Split ``IP:PORT`` or ``[IPv6]:PORT``."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join(host: str, port: int) -> str:
    """Write an address as it stands on a command line."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _lock_name(address: str) -> str:
    """Tell what a reservation has to itself: a loopback address of IPv4 as a whole, of any other the port."""
    host, _ = split(address)
    return host if host.startswith("127.") else address


def _candidate(host: str) -> tuple[socket.AddressFamily, str]:
    drawn = random.SystemRandom()  # a seed that the user sets must not make two harnesses draw alike
    last = int(_LOCAL_RANGE.read_text().split()[0]) - 1
    port = drawn.randint(FIRST_PORT, last if last > FIRST_PORT else LAST_PORT)
    if host != "127.0.0.1":
        return (socket.AF_INET6 if ":" in host else socket.AF_INET), join(host, port)
    return socket.AF_INET, f"127.{drawn.randint(1, 254)}.{drawn.randint(0, 255)}.{drawn.randint(1, 254)}:{port}"


def _try(family: socket.AddressFamily, address: str) -> None:
    """See whether the address can be bound, as a server does that sets SO_REUSEADDR."""
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(split(address))
        trial.listen(1)
