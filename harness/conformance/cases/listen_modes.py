"""Listen modes: that each serves, who holds which listener, and whom the kernel wakes."""

import select
import socket
from signal import SIGTERM

from harness import ports, processes
from harness.conformance.backend import reply_with_length
from harness.conformance.case import Section
from harness.conformance.connection import PATIENCE_S
from harness.conformance.listen_mode import APART, EXCLUSIVE, SURE, TWO, held, listeners, start, two_addresses
from harness.conformance.subject import BAD_INPUT, Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import SETTLE_S, expect_workers, watched_events
from harness.servers import Server
from harness.variants import DEFAULT, LISTEN_MODES

SECTION = Section()

_LOOK_EVERY_S = 0.05


@SECTION.case_in_modes(
    "LISTEN-MODES", "each listen mode serves as any other", [mode for mode in LISTEN_MODES if mode != DEFAULT]
)
def relays(subject: Subject, mode: str) -> None:
    """Keep connections through a proxy with --lean on two addresses, and let one exchange be under way at the end.

    Other cases see all modes answer in server mode.
    """
    backend = subject.backend(["127.0.0.1"])
    server = start(
        subject, mode, [*TWO, "-k", "--lean", "--grace", "30", "-x", backend.address], two_addresses(subject)
    )
    if server is None:
        return
    for address in server.listen:
        client, call = subject.connect(address), subject.call([backend])
        client.send(call.request())
        accepted = call.accept(client)
        for number in (1, 2):
            if number > 1:
                client.send(call.request())
            accepted.receive(len(call.request()), f"request {number} on {address}")
            accepted.send(reply_with_length())
            client.receive_reply(f"reply {number} on {address}")
    client.send(call.request())
    accepted.receive(len(call.request()), "a request before SIGTERM")
    server.send_signal(SIGTERM)
    if not processes.wait_until(lambda: not any(map(listeners, server.listen)), PATIENCE_S):
        raise ContractViolation("no listener after SIGTERM while an exchange is under way", "one still")
    accepted.send(reply_with_length())
    client.receive_reply("the reply to what was under way when SIGTERM came")


@SECTION.case_in_modes(
    "LISTEN-SOCKETS", "workers share the listener of an address, or with reuseport and percpu each has its own", SURE
)
def sockets(subject: Subject, mode: str) -> None:
    """Ask the kernel which sockets listen on each of two addresses, and see which of them each worker holds."""
    server = start(subject, mode, TWO, two_addresses(subject))
    if server is not None:
        for address in server.listen:
            _expect_listeners(server, address, mode)


def _expect_listeners(server: Server, address: str, mode: str) -> None:
    def inodes() -> list[list[int]]:
        return sorted(sorted(listener.inode for listener in of_one) for of_one in held(server, address).values())

    def as_wanted() -> bool:
        there_are = sorted(listener.inode for listener in listeners(address))
        if mode in APART:
            return len(there_are) == 2 and inodes() == [[inode] for inode in there_are]  # noqa: PLR2004  workers
        return len(there_are) == 1 and inodes() == [there_are] * 2

    # A worker that has just begun may still hold what is the other's.
    if not processes.wait_until(as_wanted, SETTLE_S, every_s=_LOOK_EVERY_S):
        raise ContractViolation(
            f"on {address} a listener {'for' if mode in APART else 'that is held by'} each of 2 workers",
            f"{len(listeners(address))} of them, by inode held as {inodes()}",
        )


@SECTION.case("LISTEN-EXCLUSIVE", "exclusive has the kernel wake few workers, or is refused", server="none")
def exclusive(subject: Subject) -> None:
    """Read what the workers' epoll sets watch the listeners for."""
    server = start(subject, EXCLUSIVE, TWO)
    if server is None:
        subject.run([*TWO, "--listen", EXCLUSIVE], [subject.reserve()]).expect_rejection(EXCLUSIVE)
        return
    pids = expect_workers(subject, server, 2)
    for address in server.listen:
        _expect_exclusive(pids, address)


def _expect_exclusive(pids: list[int], address: str) -> None:
    there_are = [listener.inode for listener in listeners(address)]
    if len(there_are) != 1:
        raise ContractViolation(f"one listener on {address} that workers share", f"{len(there_are)} of them")

    def masks() -> list[list[int]]:
        return [watched_events(pid, there_are[0]) for pid in pids]

    if not processes.wait_until(lambda: all(masks()), SETTLE_S):
        raise ContractViolation("an epoll set that watches the listener in each worker", f"{masks()}")
    if not all(mask & select.EPOLLEXCLUSIVE for of_one in masks() for mask in of_one):
        seen = " ".join(f"{mask:x}" for of_one in masks() for mask in of_one)
        raise ContractViolation("EPOLLEXCLUSIVE (10000000) wherever the listener is watched", seen)


@SECTION.case("LISTEN-PORT-TAKEN", "a port that could be shared is one in use, in every listen mode", server="none")
def port_taken(subject: Subject) -> None:
    """Listen as a server of the same user does whose own workers share the port."""
    address = subject.reserve()
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(ports.split(address))
        first.listen()
        for mode in LISTEN_MODES:
            second = subject.run([*TWO, "--listen", mode], [address])
            if mode == EXCLUSIVE:  # it may be the mode that is refused
                second.expect_status(BAD_INPUT)
            else:
                second.expect_rejection(address)
