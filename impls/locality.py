"""How many of a worker's connections are local: their packets arrive on the CPU that the worker is bound to.

The kernel keeps with each TCP socket the CPU that has worked on its last packet, and tells it as SO_INCOMING_CPU
(socket(7)): ``sk_clone_lock`` (net/core/sock.c) sets it when the handshake's last ACK makes the socket, and
``sk_incoming_cpu_update``, which ``tcp_v4_rcv`` calls, with each packet after that.

A client's connection is asked as soon as it was accepted. That is the CPU of the handshake, or of the request where
that has come by now: where steering by addresses and ports (RSS, RPS) has put the connection, and what a listen mode
can heed. Nothing that the server does itself is in it yet: on loopback the client acknowledges the reply on the
server's CPU. A backend's connection is asked when a piece of its reply was read, since only after the request was sent
from here can steering know where the connection's reader is (RFS).

To ask is a system call; so it is done with ``-v`` alone, and not of all. Which ones are asked must not keep step
with what comes by turns, such as backends, or connections of a batch; so the distance to the next is drawn each time.

A connection that is not asked costs the subtraction and the comparison that whoever accepts or reads writes out, as a
call would cost several times as much::

    if sample:
        sample.skip -= 1
        if sample.skip < 0:
            sample.ask(fd)
"""

import ctypes
import socket

from impls import counters
from impls.worker import Worker

MOST_APART = 100
"""One of so many in a row is asked at least, and on average one in half as many (``STAT-LOCALITY``)."""
_SO_INCOMING_CPU = 49
"""From include/uapi/asm-generic/socket.h; Python's ``socket`` has no name for it."""
_MULTIPLIER, _MODULUS = 48_271, 2**31 - 1
"""A multiplicative generator (Park and Miller, 1993), as the module ``random`` would load OpenSSL's hash functions."""

# A socket object for a bare descriptor would cost a further system call, and five times as much. This process has one
# thread, for which the interpreter's lock need not be released.
_getsockopt = ctypes.PyDLL(None).getsockopt
_CPU = ctypes.c_int()
_LENGTH = ctypes.c_uint(ctypes.sizeof(_CPU))
_CPU_AT, _LENGTH_AT = ctypes.byref(_CPU), ctypes.byref(_LENGTH)


class Sample:
    """Asks some of the connections that there are, and counts those asked and those that are local."""

    __slots__ = ("_cpu", "_local", "_row", "_sampled", "_state", "skip")

    def __init__(self, worker: Worker, local: int, sampled: int) -> None:
        """``local`` and ``sampled`` are slots of the worker's counters."""
        self._row = worker.counters
        self._cpu = worker.cpu
        self._local = local
        self._sampled = sampled
        self._state = worker.index + 1
        self.skip = 0
        """How many are still to be left out; negative when the one at hand is to be asked."""
        self._skip_some()

    def ask(self, fd: int) -> None:
        """Ask a connection, by its descriptor, and draw how many are left out after it."""
        self._skip_some()
        if _getsockopt(fd, socket.SOL_SOCKET, _SO_INCOMING_CPU, _CPU_AT, _LENGTH_AT) or _CPU.value < 0:
            return  # a kernel that does not know the option, or a CPU
        self._row[self._sampled] += 1
        self._row[self._local] += _CPU.value == self._cpu

    def _skip_some(self) -> None:
        self._state = self._state * _MULTIPLIER % _MODULUS
        self.skip = self._state % MOST_APART


def of_clients(worker: Worker) -> Sample | None:
    """Make a sample of clients' connections, each of which counts when it was accepted; None without ``-v``."""
    return _sample(worker, counters.LOCAL_ACCEPTS, counters.SAMPLED_ACCEPTS)


def of_backends(worker: Worker) -> Sample | None:
    """Make a sample of backends' connections, which count whenever data of them was read; None without ``-v``."""
    return _sample(worker, counters.LOCAL_BACKENDS, counters.SAMPLED_BACKENDS)


def _sample(worker: Worker, local: int, sampled: int) -> Sample | None:
    return Sample(worker, local, sampled) if worker.options.verbose else None
