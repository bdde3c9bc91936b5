"""One end of a TCP connection, as a client or as a backend, that a case plays step by step.

Whatever does not come in time, and whatever comes instead, becomes a ContractViolation that says what was awaited.
"""

import fcntl
import select
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from harness import linger, ports, processes
from harness.conformance import sock_diag
from harness.conformance.reply import Reply, head_length
from harness.conformance.violation import ContractViolation, RequirementMissing, shown

PATIENCE_S = 5.0
"""How long a step may take: on a busy machine a correct server needs some time, too."""
SMALL_SEGMENT_BYTES, SMALL_BUFFER_BYTES = 1000, 8192
"""The kernel makes a send buffer larger where segments are larger, up to megabytes on loopback."""
_SILENCE_S = 3.0
"""How long nothing may come within a message: what has begun is on its way."""
_READ_SIZE = 65536
_LOOK_EVERY_S = 0.0001
_AT_REST_AFTER_S, _LONGEST_LOOK_S = 0.5, 0.05
"""How long nothing more may be taken of what was sent, and how much of that the time between two looks may be."""
_AT_REST_WITHIN_S = 20.0
_LAST_DATA_AT, _DATA_SEGMENTS_IN_AT, _TCP_INFO_BYTES = 52, 152, 160
"""Of struct tcp_info (include/uapi/linux/tcp.h): tcpi_last_data_recv, tcpi_data_segs_in."""


class Connection:
    """A connected socket with deadlines."""

    def __init__(self, connected: socket.socket, remote: sock_diag.Endpoint, received: bytes = b"") -> None:
        """Take over a socket; ``received`` was read from it already."""
        self._socket = connected
        self._received = bytearray(received)
        self.local: sock_diag.Endpoint = connected.getsockname()[:2]
        self.remote = remote
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes, timeout_s: float = PATIENCE_S) -> None:
        """Send all of ``data``."""
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise ContractViolation(
                f"{len(data)} bytes to be taken", f"a full send buffer for {timeout_s:g} s"
            ) from None
        except OSError as error:
            raise ContractViolation(f"{len(data)} bytes to be taken", str(error)) from None

    def send_what_fits(self, data: bytes, patience_s: float) -> int:
        """Send of ``data`` what is taken until nothing more is for a while, and return how many bytes that were."""
        self._socket.settimeout(patience_s)
        sent = 0
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent : sent + _READ_SIZE])
        except TimeoutError:
            return sent
        except OSError as error:
            raise ContractViolation(f"{len(data)} bytes to be taken", f"{error} after {sent} of them") from None
        return sent

    def end(self) -> None:
        """End the own stream; the other one stays."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise ContractViolation("an open connection", str(error)) from None

    def reset(self) -> None:
        """Break the connection off."""
        linger.reset_on_close(self._socket)
        self._socket.close()

    def give_up(self) -> None:
        """End both streams, which also ends a call that waits in another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; repeated, it does nothing."""
        self._socket.close()

    def receive(self, count: int, what: str, timeout_s: float = PATIENCE_S) -> bytes:
        """Return the next ``count`` bytes."""
        deadline = time.monotonic() + timeout_s
        while len(self._received) < count:
            if not self._receive_more(deadline, what):
                raise ContractViolation(
                    f"{what} of {count} bytes", f"the end of the stream after {shown(bytes(self._received))}"
                )
        return self._take(count)

    def expect(self, wanted: bytes, what: str, timeout_s: float = PATIENCE_S) -> None:
        """Receive exactly these bytes."""
        arrived = self.receive(len(wanted), what, timeout_s)
        if arrived != wanted:
            at = next(i for i in range(len(wanted)) if arrived[i] != wanted[i])
            raise ContractViolation(f"{what} with {shown(wanted[at:])} from byte {at} on", shown(arrived[at:]))

    def receive_reply(self, what: str = "a reply", timeout_s: float = PATIENCE_S) -> Reply:
        """Return the next HTTP reply; without a Content-Length it lasts until the end of the stream."""
        deadline = time.monotonic() + timeout_s
        while not (head := head_length(self._received)):
            if not self._receive_more(deadline, what):
                raise ContractViolation(what, f"the end of the stream after {shown(bytes(self._received))}")
        length = Reply.parse(bytes(self._received[:head]), what).content_length
        if length is None:
            return Reply.parse(self.receive_to_end(what, deadline - time.monotonic()), what)
        raw = self.receive(head + length, what, deadline - time.monotonic())
        return Reply.parse(raw, what)

    def receive_to_end(self, what: str, timeout_s: float = PATIENCE_S) -> bytes:
        """Return all that comes until the other end ends its stream."""
        deadline = time.monotonic() + timeout_s
        while self._receive_more(deadline, f"{what}, then the end of the stream"):
            pass
        return self._take(len(self._received))

    def expect_end(self, when: str, timeout_s: float = PATIENCE_S) -> None:
        """See the stream end, with nothing before."""
        rest = self.receive_to_end(f"nothing more {when}", timeout_s)
        if rest:
            raise ContractViolation(f"the end of the stream {when}", shown(rest))

    def expect_gone(self, when: str, timeout_s: float = PATIENCE_S) -> bool:
        """See the connection closed, whatever came before; tell whether it was by a reset."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                if not self._socket.recv(_READ_SIZE):
                    return False
            except TimeoutError:
                raise ContractViolation(f"a closed connection {when}", f"an open one after {timeout_s:g} s") from None
            except OSError:
                return True

    def stays_open(self, duration_s: float) -> bool:
        """Tell whether nothing at all comes from the other end for some time."""
        self._socket.settimeout(duration_s)
        try:
            self._received += self._socket.recv(1)
        except TimeoutError:
            return not self._received
        except OSError:
            return False
        return False

    def unexpected(self) -> str:
        """Tell what has come from the other end although it is not its turn; empty when nothing has."""
        arriving = select.poll()  # and no other timeout, which would end what another thread is sending
        arriving.register(self._socket, select.POLLIN)
        if not arriving.poll(0):
            return ""
        try:
            arrived = self._socket.recv(_READ_SIZE, socket.MSG_PEEK)
        except OSError as error:
            return str(error)
        return shown(arrived.partition(b"\r\n")[0]) if arrived else "the end of the stream"

    def wait_arrived(self, timeout_s: float) -> bool:
        """Wait until the other end's kernel has all that was sent, which its process need not have read."""
        return processes.wait_until(lambda: not self._count(termios.TIOCOUTQ), timeout_s, every_s=_LOOK_EVERY_S)

    def wait_taken(self, timeout_s: float) -> bool:
        """Wait until the other end's process has read all that was sent, as the kernel tells."""
        return processes.wait_until(lambda: not any(self._untaken()), timeout_s, every_s=_LOOK_EVERY_S)

    def wait_at_rest(self, is_sending: Callable[[], bool], timeout_s: float = _AT_REST_WITHIN_S) -> None:
        """Wait until the other end's process has read all that was sent, or for a while nothing more of it.

        While another thread ``is_sending``, all that was sent so far may be read before the next piece comes. So then
        there must be no room for one. Raises ContractViolation when there is no such while.
        """
        seen: tuple[int, int] | None = None
        quiet_s, looked_s = 0.0, time.monotonic()
        room = select.poll()
        room.register(self._socket, select.POLLOUT)

        def at_rest() -> bool:
            nonlocal seen, quiet_s, looked_s
            now_s, untaken = time.monotonic(), self._untaken()
            # Between two looks that are far apart it was this process that rested.
            quiet_s = quiet_s + min(now_s - looked_s, _LONGEST_LOOK_S) if untaken == seen else 0.0
            seen, looked_s = untaken, now_s
            if is_sending():
                return quiet_s >= _AT_REST_AFTER_S and not room.poll(0)
            return quiet_s >= _AT_REST_AFTER_S or not any(untaken)

        if not processes.wait_until(at_rest, timeout_s):
            raise ContractViolation(
                "no more bytes to be taken while nobody reads them", f"bytes still taken after {timeout_s:g} s"
            )

    def wait_accepted(self, timeout_s: float) -> bool:
        """Wait until a process has the other end open."""
        return processes.wait_until(lambda: not self.is_left(), timeout_s, every_s=_LOOK_EVERY_S)

    def is_left(self) -> bool:
        """Tell whether no process has the other end open any more; what is left of it then is the kernel's alone."""
        other_end = sock_diag.find(self.remote, self.local)
        return other_end is None or other_end.inode == 0

    def unread(self) -> int:
        """Tell how many bytes have arrived that were not received yet."""
        return len(self._received) + self._count(termios.FIONREAD)

    def on_the_way(self) -> int:
        """Tell how many bytes the kernel holds in this direction: what the other end has sent and this one not read."""
        other_end = sock_diag.find(self.remote, self.local)
        return self.unread() + (other_end.send_queue if other_end else 0)

    def data_segments_in(self) -> int:
        """Tell how many TCP segments with data in them have arrived. Raises RequirementMissing on an old kernel."""
        return self._tcp_info(_DATA_SEGMENTS_IN_AT)

    def since_data_s(self) -> float:
        """Tell how long ago data arrived last, whenever it was read. Raises RequirementMissing on an old kernel."""
        return self._tcp_info(_LAST_DATA_AT) / 1000

    def _tcp_info(self, offset: int) -> int:
        raw = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        if len(raw) < _TCP_INFO_BYTES:
            raise RequirementMissing("this kernel tells too little of a connection (TCP_INFO before Linux 4.6)")
        return int.from_bytes(raw[offset : offset + 4], sys.byteorder)

    def _untaken(self) -> tuple[int, int]:
        """Tell how many bytes that were sent have not arrived, and how many of the others were not read."""
        on_the_way = self._count(termios.TIOCOUTQ)
        other_end = sock_diag.find(self.remote, self.local)
        return on_the_way, other_end.receive_queue if other_end else 0

    def _count(self, question: int) -> int:
        """Ask the kernel for the size of a queue (tcp(7), SIOCINQ and SIOCOUTQ under their older names)."""
        answer = fcntl.ioctl(self._socket, question, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def _receive_more(self, deadline: float, what: str) -> bool:
        """Read once; False at the end of the stream."""
        left_s = deadline - time.monotonic()
        if self._received:
            left_s = min(left_s, _SILENCE_S)
        self._socket.settimeout(max(0.001, left_s))
        try:
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError:
            so_far = (
                f"nothing more in time after {shown(bytes(self._received))}" if self._received else "nothing in time"
            )
            raise ContractViolation(what, so_far) from None
        except OSError as error:
            raise ContractViolation(what, f"{error} after {shown(bytes(self._received))}") from None
        self._received += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


@contextmanager
def connected(address: str, *, small_buffers: bool = False) -> Iterator[Connection]:
    """Connect to ``IP:PORT``; closed at the end. With small buffers those of the other end fill up soon, too."""
    host, port = ports.split(address)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_S)
        if small_buffers:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        try:
            client.connect((host, port))
        except OSError as error:
            raise ContractViolation(f"a connection to {address}", str(error)) from None
        yield Connection(client, (host, port))
