"""Proxy mode: backends that failed are left out for a while."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness import ports, processes
from harness.conformance import sock_diag
from harness.conformance.backend import Backend, reply_with_length
from harness.conformance.case import Section
from harness.conformance.connection import PATIENCE_S
from harness.conformance.counted import counted, expect_counted
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing, TooLate
from harness.servers import REQUEST, Server

SECTION = Section()

_LONG = ("-v", "--backend-rest", "60")
_SHORT_S = 0.5
_CLIENTS = 6
_CONNECT_S = 2.0
_AT_ONCE_S = 0.5 * _CONNECT_S
"""How soon a reply comes that waits for no backend."""
_FULL_AFTER_S = 0.3
_MOST_WAITING = 64


@SECTION.case(
    "PROXY-LEFT-OUT",
    "a backend that failed is left out for --backend-rest, then tried again",
    backends=("dead", "live"),
    server="own",
    flags=_LONG,
)
def left_out(subject: Subject) -> None:
    """Serve some clients: the backend that refuses is tried once."""
    for _ in range(_CLIENTS):
        _expect_served(subject, subject.server, subject.live_backends[0])
    expect_counted(subject.server, "backend_refused", least=1, most=1)


@SECTION.case(
    "PROXY-LEFT-OUT",
    "a backend that failed is left out for --backend-rest, then tried again",
    server="none",
    name="then tried again",
)
def tried_again(subject: Subject) -> None:
    """Let a backend come to life that has refused: it is in turn again, before long."""
    with ports.reserve("127.0.0.1") as address:
        live = subject.backend(["127.0.0.1"])
        server = subject.start(["-w", "1", "--backend-rest", str(_SHORT_S), "-x", address, live.address])
        for _ in range(2):
            _expect_served(subject, server, live)
        host, port = ports.split(address)
        back = subject.backend([host], port)

        def in_turn() -> bool:
            _expect_served(subject, server, live, back)
            return back.connections > 0

        if not processes.wait_until(in_turn, _SHORT_S + PATIENCE_S):
            raise ContractViolation(
                "a connection to a backend that refused and accepts again", f"none in {_SHORT_S + PATIENCE_S:g} s"
            )


@SECTION.case(
    "PROXY-LEFT-OUT",
    "a backend that failed is left out for --backend-rest, then tried again",
    server="none",
    name="not accepting",
)
def left_out_when_it_does_not_accept(subject: Subject) -> None:
    """One of two backends lets connections wait: one client at most waits for it."""
    with _never_accepting() as address:
        live = subject.backend(["127.0.0.1"])
        flags = ["-w", "1", *_LONG, "--connect-timeout", str(_CONNECT_S), "-x", address, live.address]
        server = subject.start(flags)
        first = subject.connect(server.listen[0])
        first.send(subject.call([live]).request())
        if not processes.wait_until(lambda: first.unread() > 0 or live.connections > 0, _CONNECT_S + PATIENCE_S):
            raise ContractViolation("a reply, or a connection to the next backend, when one does not accept", "neither")
        for _ in range(_CLIENTS):
            _expect_served(subject, server, live, within_s=_AT_ONCE_S)


@SECTION.case("PROXY-ALL-OUT", "with all backends left out the client gets its 502 at once", server="none")
def all_out(subject: Subject) -> None:
    """Let connections to the only backend wait: the first client waits for it, the others for nothing."""
    with _never_accepting() as address:
        flags = ["-w", "1", *_LONG, "--connect-timeout", str(_CONNECT_S), "-x", address]
        server = subject.start(flags)
        first = subject.connect(server.listen[0])
        first.send(REQUEST)
        first.receive_reply("a reply when the only backend does not accept", _CONNECT_S + PATIENCE_S)
        for _ in range(_CLIENTS):
            began_s = time.monotonic()
            client = subject.connect(server.listen[0])
            client.send(REQUEST)
            reply = client.receive_reply("a 502, as all backends are left out")
            if reply.status != "502":
                raise ContractViolation("a 502, as all backends are left out", repr(reply.status_line))
            client.expect_end("after the 502")
            if (took_s := time.monotonic() - began_s) > _AT_ONCE_S:
                raise TooLate("a 502 at once", f"one after {took_s:.2f} s")
        expect_counted(server, "no_backend", least=_CLIENTS, most=_CLIENTS)
        if counted(server, "backend_timeout") != 1:
            raise ContractViolation("one try of a backend that is left out", str(counted(server, "backend_timeout")))


def _expect_served(subject: Subject, server: Server, *backends: Backend, within_s: float = PATIENCE_S) -> None:
    """Get a reply from any of the backends."""
    began_s = time.monotonic()
    client, call = subject.connect(server.listen[0]), subject.call(backends)
    client.send(call.request())
    call.accept(client).send(reply_with_length())
    client.expect(reply_with_length(), "the reply of a backend that accepts")
    if (took_s := time.monotonic() - began_s) > within_s:
        raise TooLate(f"a reply within {within_s:g} s, without another try", f"one after {took_s:.2f} s")


def _is_full(listener: socket.socket) -> bool:
    """Tell whether more connections wait than a listener asks for: then the kernel takes no further one."""
    found = sock_diag.find_listener(listener.getsockname())
    return found is not None and found.receive_queue > found.send_queue


@contextmanager
def _never_accepting() -> Iterator[str]:
    """Listen, and let so many connections wait that the kernel answers no further one (tcp(7), somaxconn)."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(_MOST_WAITING):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(_FULL_AFTER_S)
            try:
                waiting.connect(address)
            except TimeoutError:  # which a busy machine may be the reason of
                if _is_full(listener):
                    break
        else:
            raise RequirementMissing("this kernel lets more connections wait than a listener asks for")
        yield ports.join(*address)
