"""Listen modes: that each serves, who holds which listener, and whom the kernel wakes."""

import select
import socket

from harness import processes
from harness.conformance.backend import reply_with_length
from harness.conformance.case import Section
from harness.conformance.listen_mode import APART, EXCLUSIVE, TWO, held, listeners, start
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.conformance.worker import SETTLE_S, expect_workers, watched_events

SECTION = Section()

_SURE = ("--listen shared", "--listen reuseport", "--listen percpu")
"""Those that no server may refuse."""
_RUNNING = ("--oversubscribe", "--lean")
"""What the server is started with, beside a mode, that several cases share."""
_SERVES = "each listen mode serves as any other"
_EXCHANGES = 8
_LOOK_EVERY_S = 0.05


@SECTION.case("LISTEN-MODES", _SERVES, flags=_RUNNING, workers=2, variants=_SURE)
def serves(subject: Subject) -> None:
    """Make some short connections, with --lean."""
    for _ in range(_EXCHANGES):
        subject.exchange()


@SECTION.case_in_modes("LISTEN-MODES", _SERVES, (EXCLUSIVE, *APART), name="proxy")
def relays(subject: Subject, mode: str) -> None:
    """Keep connections through a proxy on two addresses, one of IPv6 where there is that."""
    backend = subject.backend(["127.0.0.1"])
    second = subject.reserve(_second_host())
    server = start(subject, mode, [*TWO, "-k", "-x", backend.address], [second])
    if server is None:
        return
    for address in (*server.listen, second):
        client, call = subject.connect(address), subject.call([backend])
        client.send(call.request())
        accepted = call.accept(client)
        for number in (1, 2):
            if number > 1:
                client.send(call.request())
            accepted.receive(len(call.request()), f"request {number} on {address}")
            accepted.send(reply_with_length())
            client.receive_reply(f"reply {number} on {address}")


@SECTION.case(
    "LISTEN-SOCKETS",
    "workers share the listener of an address, or with reuseport and percpu each has its own",
    flags=_RUNNING,
    workers=2,
    variants=_SURE,
)
def sockets(subject: Subject) -> None:
    """Ask the kernel which sockets listen, and see which of them each worker holds."""
    server = subject.server
    mode = server.command[-1]  # of two flags the last counts, and another may be in the implementation's own command

    def inodes() -> list[list[int]]:
        return sorted(sorted(listener.inode for listener in of_one) for of_one in held(server).values())

    def as_wanted() -> bool:
        there_are = sorted(listener.inode for listener in listeners(server))
        if mode in APART:
            return len(there_are) == 2 and inodes() == [[inode] for inode in there_are]  # noqa: PLR2004  workers
        return len(there_are) == 1 and inodes() == [there_are] * 2

    # A worker that has just begun may still hold what is the other's.
    if not processes.wait_until(as_wanted, SETTLE_S, every_s=_LOOK_EVERY_S):
        raise ContractViolation(
            f"a listener {'for' if mode in APART else 'that is held by'} each of 2 workers with --listen {mode}",
            f"{len(listeners(server))} of them, by inode held as {inodes()}",
        )


@SECTION.case("LISTEN-EXCLUSIVE", "exclusive has the kernel wake few workers, or is refused", server="none")
def exclusive(subject: Subject) -> None:
    """Read what the workers' epoll sets watch the listener for."""
    server = start(subject, EXCLUSIVE, TWO)
    if server is None:
        subject.run([*TWO, "--listen", EXCLUSIVE], [subject.reserve()]).expect_rejection(EXCLUSIVE)
        return
    pids = expect_workers(subject, server, 2)
    there_are = [listener.inode for listener in listeners(server)]
    if len(there_are) != 1:
        raise ContractViolation("one listener that workers share", f"{len(there_are)} of them")

    def masks() -> list[list[int]]:
        return [watched_events(pid, there_are[0]) for pid in pids]

    if not processes.wait_until(lambda: all(masks()), SETTLE_S):
        raise ContractViolation("an epoll set that watches the listener in each worker", f"{masks()}")
    if not all(mask & select.EPOLLEXCLUSIVE for of_one in masks() for mask in of_one):
        seen = " ".join(f"{mask:x}" for of_one in masks() for mask in of_one)
        raise ContractViolation("EPOLLEXCLUSIVE (10000000) wherever the listener is watched", seen)


@SECTION.case(
    "LISTEN-PORT-TAKEN",
    "no second server gets a port, in no listen mode",
    server="own",
    flags=("--listen", "reuseport"),
)
def port_taken(subject: Subject) -> None:
    """Start others of the same user in the modes in which the kernel would let them join."""
    [address] = subject.server.listen
    for mode in APART:
        subject.run([*TWO, "--listen", mode], [address]).expect_rejection(address)
    subject.exchange(what="a reply of the first server")


def _second_host() -> str:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return "127.0.0.1"
    return "::1"
