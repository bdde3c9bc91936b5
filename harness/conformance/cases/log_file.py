"""The log file."""

from pathlib import Path
from signal import SIGHUP

from harness import processes
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.counted import expect_counted
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing, shown
from harness.conformance.worker import client_of, expect_workers
from harness.servers import REQUEST, Server

SECTION = Section()

_WRITTEN_WITHIN_S = 2.0
_FIRST_LINE = "a line from before\n"
_NASTY = b"percore-marker \x00\x07\x1b[2J\r\n\x7f\x9b\xff"
_FULL_DEVICE = Path("/dev/full")
_LOST_LINES = 10
_STEPS = ("accept", "read", "write", "close")


@SECTION.case("LOG-APPEND", "the log file is appended to", server="none")
def append(subject: Subject) -> None:
    """See what stood there before still there, before what was added."""
    server = subject.start(["-w", "1", "-d"], log_begins_with=_FIRST_LINE)
    subject.exchange(server.listen[0])
    processes.wait_until(lambda: len(server.log_text()) > len(_FIRST_LINE), _WRITTEN_WITHIN_S)
    text = server.log_text()
    if not text.startswith(_FIRST_LINE):
        raise ContractViolation(f"a log that begins with {_FIRST_LINE!r} still", shown(text.encode()))
    if text == _FIRST_LINE:
        raise ContractViolation("further lines in the log, with -d", "none")


@SECTION.case(
    "LOG-DEBUG", "with -d each step is a line in the log, received bytes escaped", server="own", flags=("-d",)
)
def debug(subject: Subject) -> None:
    """Bytes that would clear a terminal's screen."""
    client: Connection = subject.connect()
    client.send(_NASTY)
    client.receive_reply()
    client.close()
    server = subject.server

    def missing() -> list[str]:
        lines = server.log_text().splitlines()
        return [step for step in _STEPS if not any(step in line for line in lines)]

    processes.wait_until(lambda: not missing(), _WRITTEN_WITHIN_S)
    if missing():
        raise ContractViolation(f"lines with {', '.join(_STEPS)} in the log", f"none with {', '.join(missing())}")
    raw = server.log_path.read_bytes()
    read = [line for line in raw.split(b"\n") if b"percore-marker" in line]
    if not read or b"\\x1b" not in read[0]:
        raise ContractViolation(
            "the received bytes in the log, escaped as in \\x1b", shown(read[0], 200) if read else "no line with them"
        )
    strange = [line for line in raw.split(b"\n") if any(byte < ord(" ") or byte > ord("~") for byte in line)]
    if strange:
        raise ContractViolation("a log of printable characters", shown(strange[0], 200))


@SECTION.case("LOG-REOPEN", "SIGHUP opens the log file anew", server="none", flags=("-k",))
def reopen(subject: Subject) -> None:
    """Rename it: after the signal each worker writes to a new one, and no connection has noticed."""
    server = subject.start(["-w", "2", "--oversubscribe", "-k", "-d"])
    pids = expect_workers(subject, server, 2)
    clients = {pid: client_of(subject, server, pid, pids) for pid in pids}
    old = server.log_path.rename(server.log_path.with_suffix(".old"))
    server.send_signal(SIGHUP)
    if not processes.wait_until(server.log_path.exists, _WRITTEN_WITHIN_S):
        raise ContractViolation("a new log file after SIGHUP", "none")
    for number, client in enumerate(clients.values()):
        _expect_in_log(server, client, f"reopened-{number}")
    length = old.stat().st_size
    for client in clients.values():
        client.send(REQUEST)
        client.receive_reply()
    if old.stat().st_size != length:
        raise ContractViolation("nothing more in the old log file", shown(old.read_bytes()[length:], 200))
    if server.worker_pids() != pids:
        raise ContractViolation("the same workers after SIGHUP", "others")


@SECTION.case("LOG-REOPEN", "SIGHUP opens the log file anew", server="none", flags=("-k",), name="cannot be opened")
def keep_the_old_one(subject: Subject) -> None:
    """Put a folder in its place: the old file stays in use, and that is said."""
    server = subject.start(["-w", "1", "-k", "-d"])
    client = subject.connect(server.listen[0])
    client.send(REQUEST)
    client.receive_reply()  # a server listens before it has a log
    old = server.log_path.rename(server.log_path.with_suffix(".old"))
    server.log_path.mkdir()
    length = len(server.stderr_lines())
    server.send_signal(SIGHUP)

    def told() -> bool:
        return any("log" in line for line in server.stderr_lines()[length:])

    if not processes.wait_until(told, _WRITTEN_WITHIN_S):
        raise ContractViolation("a line on standard error that the log cannot be opened anew", "none")
    client.send(b"still-here")
    client.receive_reply("a reply after the log could not be opened anew")
    if not processes.wait_until(lambda: b"still-here" in old.read_bytes(), _WRITTEN_WITHIN_S):
        raise ContractViolation("further lines in the old log file", "none")


@SECTION.case(
    "LOG-FULL", "a log that cannot be written costs lines, and they are counted", server="none", flags=("-k",)
)
def full(subject: Subject) -> None:
    """Log to a device that is always full; then make room, as another file in its place."""
    if not _FULL_DEVICE.exists():
        raise RequirementMissing(f"there is no {_FULL_DEVICE}")
    subject.directory.mkdir(parents=True, exist_ok=True)
    path = subject.directory.resolve() / "full.log"
    path.symlink_to(_FULL_DEVICE)
    server = subject.start(["-w", "1", "-k", "-d", "-v", "-o", str(path)])
    client = subject.connect(server.listen[0])
    for _ in range(_LOST_LINES):
        client.send(REQUEST)
        client.receive_reply("a reply while the log cannot be written")
    expect_counted(server, "log", least=_LOST_LINES)
    path.unlink()
    server.send_signal(SIGHUP)
    processes.wait_until(path.exists, _WRITTEN_WITHIN_S)

    def written() -> bool:
        client.send(b"room-again")
        client.receive_reply("a reply when the log can be written again")
        return path.exists() and b"room-again" in path.read_bytes()

    if not processes.wait_until(written, _WRITTEN_WITHIN_S):
        raise ContractViolation("lines in the log when it can be written again", "none")


def _expect_in_log(server: Server, client: Connection, word: str) -> None:
    """Send a word until it is in the new log: a worker may learn of the new file a moment later."""

    def written() -> bool:
        client.send(word.encode())
        client.receive_reply("a reply after SIGHUP")
        return word in server.log_text()

    if not processes.wait_until(written, _WRITTEN_WITHIN_S):
        raise ContractViolation("lines of each worker in the new log file", f"none with {word}")
