"""The user that a server runs as."""

import os
import pwd
import random
import socket
from pathlib import Path

from harness import ports, processes
from harness.conformance.case import Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing
from harness.conformance.worker import expect_workers, status_of

SECTION = Section()

_NAME = "nobody"
_FIRST_PORT, _LAST_PORT = 600, 1023
"""Below 1024 few users may listen, and below 600 are those that machines use."""
_ATTEMPTS = 20
_GIVEN_UP_WITHIN_S = 4.0
_ENDS_WITHIN_S = 10.0
"""How soon it has to end other cases ask; here it is whether it can, as that user."""


@SECTION.case(
    "CLI-USER", "with --user all processes run as that user, who need not be allowed to listen", server="none"
)
def user(subject: Subject) -> None:
    """Listen on a port below 1024, which that user might not."""
    if os.geteuid() != 0:
        raise RequirementMissing("it takes root to become another user")
    try:
        entry = pwd.getpwnam(_NAME)
    except KeyError:
        raise RequirementMissing(f"this machine has no user {_NAME}") from None
    server = subject.start(["-w", "2", "--oversubscribe", "--user", _NAME, "-o", "/dev/null"], [_low_address()])
    groups = {str(group) for group in os.getgrouplist(_NAME, entry.pw_gid)}
    wanted = {"Uid": {str(entry.pw_uid)}, "Gid": {str(entry.pw_gid)}}

    def wrong() -> list[str]:
        found = []
        for pid in server.process_pids():
            status = status_of(Path(f"/proc/{pid}/status"))
            found += [
                f"{name} {status[name]} of process {pid}"
                for name, ids in wanted.items()
                if set(status[name].split()) != ids
            ]
            if not set(status["Groups"].split()) <= groups:
                found.append(f"Groups {status['Groups']} of process {pid}")
            if int(status["CapEff"], 16) or int(status["CapPrm"], 16):
                found.append(f"capabilities {status['CapPrm']} of process {pid}")
        return found

    expect_workers(subject, server, 2)
    if not processes.wait_until(lambda: not wrong(), _GIVEN_UP_WITHIN_S):
        raise ContractViolation(
            f"all processes with user {entry.pw_uid} and group {entry.pw_gid} of {_NAME} alone", "; ".join(wrong())
        )
    subject.exchange(server.listen[0], what="a reply of a server that has given up its privileges")
    status = server.stop(timeout_s=_ENDS_WITHIN_S)
    if status != 0:
        raise ContractViolation("exit status 0 after SIGTERM", str(status))


def _low_address() -> str:
    """Find a free address on a port below 1024."""
    drawn = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        host = f"127.{drawn.randint(1, 254)}.{drawn.randint(0, 255)}.{drawn.randint(1, 254)}"
        port = drawn.randint(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as trial:
            try:
                trial.bind((host, port))
            except OSError:
                continue
        return ports.join(host, port)
    raise RequirementMissing(f"none of {_ATTEMPTS} addresses below port 1024 could be bound")
