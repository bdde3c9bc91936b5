"""The process that holds idle connections: ``python -m harness.loadgen.holder IP PORT REPLY_BYTES``.

It opens as many more as it is told to, tells what became of all, and sleeps in between: nothing wakes it that happens
to its connections. It ends when its standard input does, so it cannot outlive the harness.

REPLY_BYTES is how long the reply is to the one request that each connection carries before it is idle; 0 stands for
none. A reset ends them, and leaves no port in TIME_WAIT behind.
"""

import errno
import select
import socket
import sys
import time

import msgspec

from harness import linger
from harness.loadgen import stdio
from harness.loadgen.messages import Ready
from harness.loadgen.stdio import HarnessGone

REQUEST = b"GET / HTTP/1.1\r\nHost: percore\r\n\r\n"
TIMEOUT_S = 5.0
"""How long a server may take for a handshake or a reply."""
WITHIN_S = 20.0
"""How long it may take for all that are opened at a time."""
_OUR_OWN = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""What says nothing of the server."""


class Open(msgspec.Struct, frozen=True):
    """Open so many more; with none, just tell."""

    count: int = 0


class Held(msgspec.Struct, frozen=True):
    """The answer."""

    open: int = 0
    lost: int = 0
    """How many, since the answer before, the server has ended, or has sent something on."""
    problem: str = ""
    """Why no more could be opened."""
    number: int = 0
    """Its errno, where it says nothing of the server."""


class Holder:
    """Idle connections to one server."""

    def __init__(self, target: tuple[str, int], reply_bytes: int) -> None:
        self._target = target
        self._reply_bytes = reply_bytes
        self._idle: dict[int, socket.socket] = {}
        self._epoll = select.epoll()

    def carry_out(self, command: Open) -> Held:
        """Open some more, and look at all."""
        problem, number = "", 0
        try:
            self._open(command.count)
        except OSError as error:
            problem = error.strerror or str(error)
            number = error.errno if error.errno in _OUR_OWN else 0
        lost = self._lost()
        return Held(len(self._idle), lost, problem, number)

    def _open(self, count: int) -> None:
        """Open connections, and let each have its request answered; all at a time in each step.

        Raises OSError; those that are through the step that failed are held all the same, so that they count.
        """
        deadline_s = time.monotonic() + WITHIN_S
        done: list[socket.socket] = []
        try:
            for _ in range(count):
                done.append(self._connected(deadline_s))  # noqa: PERF401  those before a failure count
            if self._reply_bytes:
                waiting, done = done, []
                for connection in waiting:
                    connection.settimeout(_time_left_s(deadline_s))
                    connection.sendall(REQUEST)
                for connection in waiting:
                    self._read_reply(connection, deadline_s)
                    done.append(connection)
        finally:
            for connection in done:
                self._idle[connection.fileno()] = connection
                self._epoll.register(connection, select.EPOLLIN | select.EPOLLRDHUP)

    def _connected(self, deadline_s: float) -> socket.socket:
        connection = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET)
        linger.reset_on_close(connection)
        connection.settimeout(_time_left_s(deadline_s))
        connection.connect(self._target)
        return connection

    def _read_reply(self, connection: socket.socket, deadline_s: float) -> None:
        left = self._reply_bytes
        while left:
            connection.settimeout(_time_left_s(deadline_s))
            data = connection.recv(left)
            if not data:
                raise ConnectionResetError("the server has closed a connection that is to be kept")
            left -= len(data)

    def _lost(self) -> int:
        events = self._epoll.poll(0, max(1, len(self._idle)))
        for fd, _ in events:
            self._idle.pop(fd).close()
        return len(events)


def _time_left_s(deadline_s: float) -> float:
    """Return how long a server may take for the next step. Raises TimeoutError when its time for all is over."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(f"no more in {WITHIN_S:g} s")
    return min(TIMEOUT_S, left_s)


def main() -> None:
    """Carry out commands until standard input ends."""
    host, port, reply_bytes = sys.argv[1:]
    holder = Holder((host, int(port)), int(reply_bytes))
    try:
        stdio.write(Ready())
        while True:
            stdio.write(holder.carry_out(stdio.read(Open)))
    except (HarnessGone, BrokenPipeError):
        return  # nobody is left to tell


if __name__ == "__main__":
    main()
