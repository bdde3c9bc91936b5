"""Listening sockets, and sockets to backends, with every option that could make servers differ."""

import errno
import os
import socket
import struct
from contextlib import ExitStack

from impls import steering
from impls.addresses import Address
from impls.contract import BACKLOG, Options

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER {on, 0 s}: close(2) sends a reset and leaves no TIME_WAIT behind (socket(7))."""

UNSENT_BYTES = 131072
"""What the kernel holds for a connection beyond what it has sent and the other end has room for (TCP_NOTSENT_LOWAT)."""
BACKEND_UNREAD_BYTES = 131072
"""What the kernel holds of a reply that is not read because its client is slow: it takes twice as much memory, headers
and slack included (SO_RCVBUF in socket(7)), and lets the buffer no longer grow to tcp_rmem's largest."""

DEFER_ACCEPT_S = 1
"""How long a lean listener waits for a connection's first bytes. The kernel counts it in retransmissions of its
SYN-ACK, the first of which is due after a second (``secs_to_retrans``, net/ipv4/tcp.c)."""


Listeners = tuple[socket.socket, ...]
"""Those of one worker: one for each address."""


def open_listeners(options: Options) -> tuple[Listeners, ...]:
    """Open non-blocking listening sockets, and say which worker gets which: the same for all, or each its own.

    Raises ValueError with one line that names the address or flag and what would be right.
    """
    by_address: list[list[socket.socket]] = []
    with ExitStack() as opened:
        for address in options.addresses:
            try:
                by_address.append(_open_for_all(address, options, opened))
            except OSError as error:
                raise ValueError(f"-a {address}: {_explain(error)}") from None
        opened.pop_all()
    return tuple(zip(*by_address, strict=True))


def _open_for_all(address: Address, options: Options, opened: ExitStack) -> list[socket.socket]:
    """Return the listener of each worker on an address, and have ``opened`` close them. Raises OSError, ValueError."""
    workers = len(options.cpus)
    first = opened.enter_context(_open(address, options))
    if not options.listeners_apart:
        return [first] * workers
    # Not before it listens: else it would join the group of another server of the same user on that port.
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    others = [opened.enter_context(_open(address, options, reuse_port=True)) for _ in range(workers - 1)]
    if others and options.listen_mode == "percpu":
        _steer(first, options)
    return [first, *others]


def _steer(listener: socket.socket, options: Options) -> None:
    try:
        steering.attach(listener, options.cpus)
    except OSError as error:
        raise ValueError(
            f"--listen percpu: the kernel does not take the program that steers connections: {error.strerror}; give "
            "--listen reuseport"
        ) from None


def _open(address: Address, options: Options, *, reuse_port: bool = False) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)  # its connections inherit it
        if address.family == socket.AF_INET6:
            # Without it [::]:80 would also take IPv4's port 80, and 0.0.0.0:80 beside it would fail.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        if options.lean:
            _make_lean(listener, keepalive=options.keepalive)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_lean(listener: socket.socket, *, keepalive: bool) -> None:
    """Set what its connections inherit, so that they take fewer segments; DESIGN.md says what each option does.

    It has to listen by then: listen(2) sets TCP_QUICKACK back (``inet_csk_listen_start``).
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    if not keepalive:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; give another, or end what listens there"
        case errno.EADDRNOTAVAIL:
            return "not an address of this machine; give one that 'ip address' shows, or 0.0.0.0"
        case errno.EACCES:
            return (
                "no permission for a port below 1024; give a higher port, run as root, or allow it with "
                "'sysctl net.ipv4.ip_unprivileged_port_start=0'"
            )
        case errno.EMFILE | errno.ENFILE:
            return f"{os.strerror(error.errno)}; give fewer addresses or workers, or raise that limit"
        case number:
            return os.strerror(number) if number else str(error)


def close_empty(listener: socket.socket, options: Options) -> None:
    """Close a listener that a worker which is to stop has emptied; where no other worker empties it, for all processes.

    The parent has it open as well, for whoever may have to take the worker's place. But to shut it down ends listening
    whoever has it open (``inet_shutdown``, net/ipv4/af_inet.c), so nobody comes to a queue that has no worker any more.
    """
    if options.queues_apart:
        listener.shutdown(socket.SHUT_RD)
    listener.close()


def open_backend_socket(address: Address, *, lean: bool) -> socket.socket:
    """Make a non-blocking, unconnected socket for a backend. Its close resets the connection."""
    backend = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    set_backend_options(backend, lean=lean)
    return backend


def set_backend_options(backend: socket.socket, *, lean: bool) -> None:
    """Set what a connection to a backend has. Before it connects, ``lean`` saves the handshake's last ACK as well."""
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BACKEND_UNREAD_BYTES)
    backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if lean:
        backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
