"""What the parent asks of a worker while it runs, over a pair of connected sockets.

Not by signals: each library has a way of its own with their handlers, and a signal cannot bring a descriptor along. A
loop waits for these as for any other socket. The end of the stream is an order, too: to stop. So it cannot be lost in a
full buffer, and a worker gets it however its parent ends.
"""

import os
import socket
from contextlib import suppress

from impls.descriptors import Reserve
from impls.log import Log

_NEW_LOG = b"log"


class Orders:
    """The worker's end."""

    def __init__(self, channel: socket.socket, log: Log) -> None:
        self._channel = channel
        self._log = log
        self._reserve = Reserve()
        """For the new log to arrive in: the kernel drops a descriptor for which there is no number (unix(7))."""
        self.to_stop = False
        """The order to stop has come."""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is an order, and stays so after the order to stop."""
        return self._channel.fileno()

    def obey(self) -> bool:
        """Take the next order and do what this process as a whole has to.

        Returns whether it is to stop: to accept no more, finish what is under way, and return from ``serve``.
        """
        self._reserve.give()
        try:
            message, received, _, _ = socket.recv_fds(self._channel, len(_NEW_LOG), 1)
        except BlockingIOError:
            self._reserve.renew()
            return False
        for new in received:
            use_log(new, self._log.fd)
            for stream in (1, 2):
                os.dup2(self._log.fd, stream)
        self._reserve.renew()
        if message and not received:  # others have taken all that the machine has, or the limit was lowered
            self._log.line("error: no descriptor was left for the new log; this worker writes to the old one")
        self.to_stop = not message
        return self.to_stop

    def close(self) -> None:
        """Let go of this end, in the process that it is not for."""
        self._channel.close()
        self._reserve.give()


class Superior:
    """The parent's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._owed_fd: int | None = None

    def stop(self) -> None:
        """Order the worker to stop. In another worker: have nothing to do with this one."""
        self._channel.close()

    def use_log(self, fd: int) -> None:
        """Have the worker write its log here from now on; ``fd`` is to stay open, as ``catch_up`` may send it later."""
        self._owed_fd = fd
        self.catch_up()

    def catch_up(self) -> None:
        """Try again what a worker that takes no orders at the moment has not been told yet."""
        if self._owed_fd is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died, which its parent is about to notice
            try:
                socket.send_fds(self._channel, [_NEW_LOG], [self._owed_fd])
            except BlockingIOError:
                return
        self._owed_fd = None


def channel(log: Log) -> tuple[Superior, Orders]:
    """Make both ends, before the worker is forked; ``log`` is the worker's. Each process closes the other's."""
    parents, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    return Superior(parents), Orders(workers, log)


def use_log(new_fd: int, log_fd: int) -> None:
    """Let ``log_fd`` stand for another open file, and close the descriptor that brought it."""
    os.dup2(new_fd, log_fd, inheritable=False)
    os.close(new_fd)
