"""The way into a network namespace for who stays outside of it: requests to a process that lives there.

The harness keeps its own network and its own privileges. What it needs from a host, a socket that connects from there
or a setting, it asks the host's holder for, over a Unix socket that keeps messages apart (SOCK_SEQPACKET). Sockets come
back as descriptors (SCM_RIGHTS in unix(7)): a socket belongs to the namespace that it was made in, whoever uses it.
"""

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

DEVICE = "eth0"
"""What a host calls its end of a veth pair; the switch calls the other end by the host's name."""
ANSWER_TIMEOUT_S = 10.0
ENDED = "the process that holds the namespace has ended"
_MESSAGE_BYTES = 65536
_MOST_DESCRIPTORS = 8


class OpenSocket(msgspec.Struct, tag=True):
    """Give a TCP socket of this family."""

    family: int


class ReadSysctl(msgspec.Struct, tag=True):
    """Tell a setting."""

    name: str


class WriteSysctl(msgspec.Struct, tag=True):
    """Change a setting."""

    name: str
    value: str


class Steer(msgspec.Struct, tag=True):
    """Let what a device receives be received on these CPUs; on the sender's where there are none."""

    device: str
    cpus: tuple[int, ...]


class SteerFlows(msgspec.Struct, tag=True):
    """Let the queue on which a device receives remember the CPUs of so many connections."""

    device: str
    entries: int


class SetUp(msgspec.Struct, tag=True):
    """Bring up the devices of the host, and give it this address; tell why it cannot be steered, if so."""

    address: str


Request = OpenSocket | ReadSysctl | WriteSysctl | Steer | SteerFlows | SetUp


class Answer(msgspec.Struct):
    """What came of a request; ``error`` is an errno, 0 when it was carried out."""

    text: str = ""
    error: int = 0


class Built(msgspec.Struct):
    """What was built: the text of the first answer. The hosts' doors come along, in the same order."""

    holder_pids: list[int]
    no_steering: str
    """Why the kernel does not let receive steering be set; an empty text when it does."""


CarryOut = Callable[[Request, ExitStack], tuple[str, Sequence[int]]]
"""Carries out a request, and returns a text and descriptors. What it opened, the stack closes. Raises OSError."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a door."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Door:
    """The end of who asks."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.settimeout(ANSWER_TIMEOUT_S)
        self._lock = threading.Lock()

    def ask(self, request: Request) -> str:
        """Have something done, and return what is told of it. Raises OSError when it cannot be done."""
        answer, _ = self._exchange(request)
        return answer.text

    def open_socket(self, family: socket.AddressFamily) -> socket.socket:
        """Have a TCP socket made in there. Raises OSError."""
        _, [descriptor] = self._exchange(OpenSocket(family))
        return socket.socket(fileno=descriptor)

    def receive(self) -> tuple[Answer, list[int]]:
        """Wait for an answer, and the descriptors with it. Raises OSError when it tells of an error, or none comes."""
        payload, descriptors, _, _ = socket.recv_fds(self._end, _MESSAGE_BYTES, _MOST_DESCRIPTORS)
        if not payload:
            raise BrokenPipeError(errno.EPIPE, "the other end was closed")
        answer = msgspec.json.decode(payload, type=Answer)
        if answer.error:
            raise OSError(answer.error, answer.text)
        return answer, descriptors

    def close(self) -> None:
        """Let the other end know that nothing more is asked; it ends then."""
        self._end.close()

    def _exchange(self, request: Request) -> tuple[Answer, list[int]]:
        with self._lock:
            try:
                self._end.send(msgspec.json.encode(request))
                return self.receive()
            except ConnectionError as problem:
                raise BrokenPipeError(errno.EPIPE, ENDED) from problem
            except TimeoutError as problem:
                text = f"the process that holds the namespace gives no answer within {ANSWER_TIMEOUT_S:g} s"
                raise TimeoutError(errno.ETIMEDOUT, text) from problem


def answer(end: socket.socket, text: str = "", descriptors: Sequence[int] = ()) -> None:
    """Tell that something was done. Raises BrokenPipeError when nobody is there to be told."""
    socket.send_fds(end, [msgspec.json.encode(Answer(text))], descriptors)


def refuse(end: socket.socket, problem: OSError) -> None:
    """Tell that something could not be done."""
    end.send(msgspec.json.encode(Answer(problem.strerror or str(problem), problem.errno or errno.EIO)))


def serve(end: socket.socket, carry_out: CarryOut) -> None:
    """Answer requests until the other end is closed."""
    while payload := end.recv(_MESSAGE_BYTES):
        request: Request = msgspec.json.decode(payload, type=Request)
        with ExitStack() as stack:
            try:
                text, descriptors = carry_out(request, stack)
            except OSError as problem:
                refuse(end, problem)
            else:
                answer(end, text, descriptors)
