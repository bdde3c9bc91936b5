"""The command line: help, long names, and bad input of every kind."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from harness import ports, processes
from harness.conformance.backend import reply_with_length
from harness.conformance.case import Case, Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing, shown

SECTION = Section()

_FLAGS = (
    *("-w", "--workers", "-c", "--start-cpu", "--oversubscribe", "-a", "--address", "--listen"),
    *("-x", "--backend", "-k", "--keepalive", "-o", "--log-file", "-v", "--verbose", "-d", "--debug"),
    *("--lean", "--connect-timeout", "--reply-timeout", "--idle-timeout", "--backend-rest"),
    *("--max-connections", "--grace", "--user", "--help", "--version"),
)
_MOST_ADDRESSES = 32
_FIRST_PORT, _LOW_PORT = 8000, 80
_NOBODYS_HOST = "192.0.2.1"
"""Set apart for documentation (RFC 5737)."""
_CAP_SETPCAP, _CAP_NET_BIND_SERVICE = 8, 10
_NONLOCAL_BIND = Path("/proc/sys/net/ipv4/ip_nonlocal_bind")
_UNPRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_SHORTEST_HINT = 60
"""Characters: a reason such as "Permission denied" is no hint."""
_SETTLE_S = 4.0


@SECTION.case("CLI-HELP", "--help explains every flag", server="none")
def help_text(subject: Subject) -> None:
    """Short and long names, on standard output."""
    finished = subject.run(["--help"])
    missing = [flag for flag in _FLAGS if flag not in finished.stdout]
    if missing:
        raise ContractViolation("every flag in the help on standard output", f"none of {', '.join(missing)}")
    finished.expect_status(0)


@SECTION.case("CLI-VERSION", "--version prints one line", server="none")
def version(subject: Subject) -> None:
    """On standard output."""
    finished = subject.run(["--version"])
    if len(finished.stdout.splitlines()) != 1:
        raise ContractViolation("one line on standard output", shown(finished.stdout.encode()))
    finished.expect_status(0)


@SECTION.case("CLI-LONG-NAMES", "the long names do what the short ones do", server="none")
def long_names(subject: Subject) -> None:
    """All of them at once; then what each one does."""
    address = subject.reserve()
    backend = subject.backend(["127.0.0.1"])
    log = subject.directory / "long-names.log"
    cpu = max(os.sched_getaffinity(0))
    server = subject.start(
        [
            *("--workers", "1", "--start-cpu", str(cpu), "--address", address, "--backend", backend.address),
            *("--keepalive", "--log-file", str(log.resolve()), "--verbose", "--debug"),
        ],
        also=[address],
    )
    client, call = subject.connect(address), subject.call([backend])
    client.send(call.request())
    accepted = call.accept(client)
    for number in (1, 2):
        if number > 1:
            client.send(call.request())
        accepted.receive(len(call.request()), f"request {number}, with --backend and --keepalive")
        accepted.send(reply_with_length())
        client.receive_reply(f"reply {number}, with --address and --keepalive")

    def told() -> bool:
        return any(line.startswith(f"worker 0 cpu {cpu} ") for line in server.stderr_lines())

    if not processes.wait_until(told, _SETTLE_S):
        raise ContractViolation(f"'worker 0 cpu {cpu} …' with --verbose and --start-cpu {cpu}", "no such line")
    if not log.exists() or "read" not in log.read_text(errors="replace"):
        raise ContractViolation("a line for each read in the log file, with --log-file and --debug", "none")


def _reject(name: str, flags: Callable[[], list[str]], named: str) -> None:
    """Make a case of one kind of bad input; ``named`` is what the line on standard error must hold."""

    def check(subject: Subject) -> None:
        subject.run(flags()).expect_rejection(named)

    title = "bad input is answered with one line that names it, and status 2"
    SECTION.cases.append(Case("CLI-BAD-INPUT", title, check, server="none", variant=name))


_reject("no worker", lambda: ["-w", "0"], "0")
_reject("more workers than CPUs", lambda: ["-w", str(len(os.sched_getaffinity(0)) + 1)], "-w")
_reject("CPU not allowed", lambda: ["-c", "99999"], "99999")
_reject("no address", lambda: ["-a", "nonsense"], "nonsense")
_reject("unknown flag", lambda: ["--no-such-flag"], "--no-such-flag")
_reject("unknown listen mode", lambda: ["--listen", "nonsense"], "nonsense")
_reject("unknown host", lambda: ["-x", "no-such-host.invalid:80"], "no-such-host.invalid")
_reject("no time", lambda: ["--idle-timeout", "0"], "--idle-timeout")
_reject("no connection", lambda: ["--max-connections", "0"], "--max-connections")
_reject("negative grace", lambda: ["--grace", "-1"], "--grace")
_reject("unknown user", lambda: ["--user", "no-such-user"], "no-such-user")
_reject("33 addresses", lambda: ["-a", *(f"127.0.0.1:{_FIRST_PORT + i}" for i in range(_MOST_ADDRESSES + 1))], "33")


@SECTION.case("CLI-PORT-IN-USE", "a port in use is bad input", server="none")
def port_in_use(subject: Subject) -> None:
    """Take a port that the case itself listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ports.join(*listener.getsockname())
        subject.run(["-w", "1"], [address]).expect_rejection(address)


@SECTION.case("CLI-NOT-LOCAL", "an address that is not the machine's is bad input", server="none")
def not_local(subject: Subject) -> None:
    """Take an address that is set apart for documentation."""
    if _NONLOCAL_BIND.read_text().strip() != "0":
        raise RequirementMissing("net.ipv4.ip_nonlocal_bind allows every address")
    address = f"{_NOBODYS_HOST}:{_FIRST_PORT}"
    subject.run(["-w", "1"], [address]).expect_rejection(address)


@SECTION.case("CLI-PRIVILEGE", "a port below 1024 without permission is bad input, with a hint", server="none")
def privilege(subject: Subject) -> None:
    """Root's servers are started without the capability that would allow it."""
    first_free = int(_UNPRIVILEGED_PORTS.read_text())
    if first_free <= _LOW_PORT:
        raise RequirementMissing(f"net.ipv4.ip_unprivileged_port_start is {first_free}: everybody may use low ports")
    held = _capabilities()
    if _CAP_NET_BIND_SERVICE in held and _CAP_SETPCAP not in held:
        raise RequirementMissing("this process may use low ports, and cannot start another that may not (CAP_SETPCAP)")
    address = f"127.0.0.1:{_LOW_PORT}"
    finished = subject.run(["-w", "1"], [address], without_capability=_CAP_NET_BIND_SERVICE)
    finished.expect_rejection(address)
    if len(finished.stderr[0]) < len(address) + _SHORTEST_HINT:
        raise ContractViolation("a hint what would help", repr(finished.stderr[0]))


@SECTION.case("CLI-LOG", "a log file that cannot be written is bad input", server="none")
def log(subject: Subject) -> None:
    """Name a file in a folder that does not exist."""
    path = str(subject.directory.resolve() / "no-such-folder" / "percore.log")
    subject.run(["-w", "1", "-o", path], [subject.reserve()]).expect_rejection(path)


def _capabilities() -> set[int]:
    """List the numbers of this process's effective capabilities."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return {bit for bit in range(64) if int(value, 16) >> bit & 1}
    return set()
