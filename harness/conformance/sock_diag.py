"""What the kernel knows about a TCP socket of any process, asked over netlink as ss(8) does (sock_diag(7))."""

import errno
import functools
import os
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from harness import ports
from harness.conformance.violation import RequirementMissing

SYN_SENT, TIME_WAIT, LISTEN = 2, 6, 10
"""States of a TCP socket (include/net/tcp_states.h)."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2 up to the socket's id
_SOCKET_ID = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses in network order, …
_ANY_INTERFACE_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # … then the rest in the machine's
_STATE_OFFSET, _ID_OFFSET, _COUNTS_OFFSET = 1, 4, 4 + 48 + 4
_COUNTS = struct.Struct("=IIII")  # inet_diag_msg from idiag_rqueue on
_BUFFER_BYTES, _DUMP_BYTES = 4096, 65536
_MEMORY = 7  # INET_DIAG_SKMEMINFO (include/uapi/linux/inet_diag.h)
_ASK_MEMORY = 1 << (_MEMORY - 1)
_ATTRIBUTE = struct.Struct("=HH")  # rtattr
_MEMORY_COUNTS = struct.Struct("=IIIIII")  # SK_MEMINFO_RMEM_ALLOC to SK_MEMINFO_WMEM_QUEUED

CONNECTIONS = frozenset(range(1, 12)) - {TIME_WAIT, LISTEN}
"""States in which a process may hold a connection."""
Endpoint = tuple[str, int]
"""IP address and port."""


@dataclass(frozen=True, slots=True)
class SocketState:
    """One socket at one moment."""

    state: int
    receive_queue: int
    """Bytes that arrived and were not read; of a listener, connections that were not accepted."""
    send_queue: int
    """Bytes written and not acknowledged; of a listener, the limit of its backlog."""
    inode: int
    memory_bytes: int
    """What the kernel has allocated for what waits in both directions (SK_MEMINFO in sock_diag(7))."""


def find(local: Endpoint, remote: Endpoint) -> SocketState | None:
    """Look up one end of a connection, also one in TIME_WAIT; None when the kernel knows none.

    Raises RequirementMissing on a kernel that does not answer.
    """
    _require()
    found = _query(local, remote)
    # Where there is no such connection the kernel answers with the listener of that address.
    return None if found is None or found.state == LISTEN else found


def find_listener(local: Endpoint) -> SocketState | None:
    """Look up a listening socket. Raises RequirementMissing on a kernel that does not answer."""
    _require()
    return _query(local, None)


def inodes(*, local_port: int = 0, remote_port: int = 0, states: Collection[int] = CONNECTIONS) -> set[int]:
    """List the IPv4 sockets with these ports, 0 for any, of all processes in this network namespace.

    The kernel looks for them, which takes milliseconds beside a hundred thousand connections in TIME_WAIT; to read its
    whole table takes seconds then. Raises RequirementMissing on a kernel that does not answer.
    """
    _require()
    ports_wanted = (local_port, remote_port)
    return {_state(one).inode for one in _dump(socket.AF_INET, ports_wanted, states, 0)}


def listeners(local: Endpoint) -> list[SocketState]:
    """List the sockets that listen on an address. Raises RequirementMissing on a kernel that does not answer."""
    _require()
    family = _family(local[0])
    found = _dump(family, (local[1], 0), {LISTEN}, _ASK_MEMORY)
    host = _packed(family, local[0])
    return [_state(one) for one in found if _SOCKET_ID.unpack_from(one, _HEADER.size + _ID_OFFSET)[2] == host]


def _dump(
    family: socket.AddressFamily, both_ports: tuple[int, int], states: Collection[int], attributes: int
) -> Iterator[bytes]:
    """Yield the kernel's answer for each socket with these ports, 0 for any."""
    identity = _SOCKET_ID.pack(*both_ports, b"", b"") + _ANY_INTERFACE_ANY_COOKIE
    wanted = sum(1 << state for state in states)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(_question(family, _NLM_F_REQUEST | _NLM_F_DUMP, attributes, wanted, identity))
        while True:
            answers = netlink.recv(_DUMP_BYTES)
            while answers:
                length, kind, *_ = _HEADER.unpack_from(answers)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise _error(answers, "all sockets")
                yield answers[:length]
                answers = answers[length + -length % 4 :]


def _require() -> None:
    if not _answers():
        raise RequirementMissing("this kernel does not answer sock_diag questions (CONFIG_INET_TCP_DIAG)")


@functools.cache
def _answers() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            return _query(listener.getsockname(), None) is not None
        except OSError:
            return False


def _query(local: Endpoint, remote: Endpoint | None) -> SocketState | None:
    family = _family(local[0])
    remote_host, remote_port = remote or ("", 0)
    identity = _SOCKET_ID.pack(local[1], remote_port, _packed(family, local[0]), _packed(family, remote_host))
    identity += _ANY_INTERFACE_ANY_COOKIE
    every_state = 0xFFFFFFFF
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(_question(family, _NLM_F_REQUEST, _ASK_MEMORY, every_state, identity))
        answer = netlink.recv(_BUFFER_BYTES)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        error = _error(answer, ports.join(*local))
        if error.errno == errno.ENOENT:
            return None
        raise error
    return _state(answer)


def _state(answer: bytes) -> SocketState:
    receive_queue, send_queue, _, inode = _COUNTS.unpack_from(answer, _HEADER.size + _COUNTS_OFFSET)
    state = answer[_HEADER.size + _STATE_OFFSET]
    return SocketState(state, receive_queue, send_queue, inode, _memory_bytes(answer))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _question(family: socket.AddressFamily, flags: int, attributes: int, states: int, identity: bytes) -> bytes:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, attributes, states) + identity
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body


def _error(answer: bytes, about: str) -> OSError:
    number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
    return OSError(number, f"sock_diag about {about}: {os.strerror(number)}")


def _memory_bytes(answer: bytes) -> int:
    """Add up what an answer's attributes tell; 0 when none does, as of a connection in TIME_WAIT."""
    length = _HEADER.unpack_from(answer)[0]
    offset = _HEADER.size + _COUNTS_OFFSET + _COUNTS.size
    while offset + _ATTRIBUTE.size <= length:
        size, kind = _ATTRIBUTE.unpack_from(answer, offset)
        if kind == _MEMORY:
            received, _, _, _, reserved, queued = _MEMORY_COUNTS.unpack_from(answer, offset + _ATTRIBUTE.size)
            return int(received + reserved + queued)
        offset += max(size + -size % 4, _ATTRIBUTE.size)
    return 0


def _packed(family: socket.AddressFamily, host: str) -> bytes:
    return (socket.inet_pton(family, host) if host else b"").ljust(16, b"\0")
