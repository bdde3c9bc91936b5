"""The log file."""

from harness import processes
from harness.conformance.case import Section
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, shown

SECTION = Section()

_WRITTEN_WITHIN_S = 2.0
_FIRST_LINE = "a line from before\n"
_NASTY = b"percore-marker \x00\x07\x1b[2J\r\n\x7f\x9b\xff"
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
