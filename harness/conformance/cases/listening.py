"""Listening: several addresses, IPv6, and the backlog."""

import socket
from pathlib import Path

from harness import ports
from harness.conformance import sock_diag
from harness.conformance.case import Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing

SECTION = Section()

_BACKLOG = 8192
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@SECTION.case("LISTEN-SEVERAL", "-a takes several addresses, and may repeat", server="none")
def several(subject: Subject) -> None:
    """Two addresses after one flag, and a third after another."""
    addresses = [subject.reserve() for _ in range(3)]
    subject.start(["-w", "1", "-a", addresses[2]], addresses[:2], also=addresses[2:])
    for position, address in enumerate(addresses, 1):
        subject.exchange(address, what=f"a reply on address {position} of 3")


@SECTION.case("LISTEN-IPV6", "an IPv6 address in brackets is served", server="none")
def ipv6(subject: Subject) -> None:
    """IPv6's loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError as error:
        raise RequirementMissing(f"::1 cannot be bound: {error.strerror}") from None
    address = subject.reserve("::1")
    subject.start(["-w", "1"], [address])
    subject.exchange(address)


@SECTION.case("LISTEN-BACKLOG", "the backlog asked for is 8192")
def backlog(subject: Subject) -> None:
    """Look at the limit that the kernel shows, which it has capped."""
    wanted = min(_BACKLOG, int(_SOMAXCONN.read_text()))
    listener = sock_diag.find_listener(ports.split(subject.server.listen[0]))
    seen = None if listener is None else listener.send_queue
    if seen != wanted:
        raise ContractViolation(f"a backlog limit of {wanted}", str(seen))
