"""wrk: one process with one thread for each client CPU. It prints JSON by a script, ``wrk.lua``.

What to know of its figures:

- A latency is from before the request is written to the reply's last byte: its clock starts after the connect, so on
  ``short`` it is shorter than everybody else's. It also adds values that it has not measured where one was longer than
  the mean interval between a connection's replies (its correction for coordinated omission).
- It divides the connections by its threads and drops the rest: so one thread. One whose connect fails at once is not
  opened again.
- It ends with status 0 when every request failed; what is not a reply of status 200 is an error here.
- It takes every close for a read error where a reply has no Content-Length, although it has counted the reply.
- It looks at no byte of a reply. Here the bytes that it has read must be those of the replies that it has counted;
  otherwise none counts as correct.
- It opens a connection anew, without a word, where the server does not keep it. The expected reply tells whether that
  is so.
- On ``short`` it closes as soon as the reply is whole, at times before the server does. It ends up to 0.1 s late, and
  its duration says so.
"""

from pathlib import Path

import msgspec

from harness.loadgen.client import GeneratorFailed
from harness.loadgen.connections import CONNECT, TIMEOUT, WRONG_REPLY
from harness.loadgen.messages import Job
from harness.loadgen.witnesses.base import NOT_KEPT, STATUS, Printed, Tally, Witness, seconds, url
from harness.schema import Count

_SCRIPT = Path(__file__).with_name("wrk.lua")
_CANNOT_CONNECT = "unable to connect"


class _Line(msgspec.Struct, frozen=True):
    """What the script prints."""

    requests: Count
    duration_us: Count
    bytes: Count
    connect: Count
    read: Count
    write: Count
    status: Count
    timeout: Count
    quantiles_us: list[Count]


class Wrk(Witness):
    """wrk in the place of a generator process."""

    program = "wrk"
    package = "wrk"

    @staticmethod
    def arguments(job: Job, quantiles: Path) -> list[str]:  # noqa: ARG004  the script prints them with the rest
        """Return wrk's arguments: HTTP/1.1, with ``Connection: close`` where connections are not kept."""
        header = [] if job.workload == "keepalive" else ["--header", "Connection: close"]
        times = ["--duration", f"{seconds(job.duration_s)}s", "--timeout", f"{seconds(job.timeout_s)}s"]
        return ["--threads", "1", "--connections", str(job.concurrency), *times, *header, "-s", str(_SCRIPT), url(job)]

    @staticmethod
    def read(job: Job, printed: Printed) -> Tally:
        """Read the script's line. Raises GeneratorFailed for what it does not print."""
        if printed.status:
            kind = CONNECT if _CANNOT_CONNECT in printed.stderr + printed.stdout else f"wrk: {printed.last_words}"
            return Tally(errors={kind: job.concurrency})
        line = _line(printed)
        errors = {
            CONNECT: line.connect,
            "read": line.read if _tells_length(job.reply) else max(line.read - line.requests, 0),
            "write": line.write,
            STATUS: line.status,
            TIMEOUT: line.timeout,
        }
        if not line.requests and not any(errors.values()):
            errors[TIMEOUT] = job.concurrency
        if not line.status and not _bytes_fit(job, line):
            return Tally(errors={**errors, WRONG_REPLY: line.requests or 1})
        if job.workload == "keepalive" and not _keeps(job.reply):
            errors[NOT_KEPT] = line.requests
        correct = max(line.requests - line.status - line.timeout, 0)
        quantiles_ns = [us * 1000 for us in line.quantiles_us] if correct else []
        try:
            return Tally(correct, line.duration_us * 1000, quantiles_ns, errors)
        except ValueError as error:
            raise GeneratorFailed(f"wrk printed figures that cannot be: {error}") from error


def _line(printed: Printed) -> _Line:
    last = printed.stdout.rstrip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=_Line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise GeneratorFailed(f"wrk's last line should be the script's JSON, and is {last[:200]!r}") from error


def _bytes_fit(job: Job, line: _Line) -> bool:
    """Tell whether what was read is what was counted, and parts of replies that never became whole."""
    parts = line.bytes - line.requests * len(job.reply)
    return 0 <= parts <= (job.concurrency + line.read) * len(job.reply)


def _tells_length(reply: bytes) -> bool:
    return "content-length" in _fields(reply)


def _keeps(reply: bytes) -> bool:
    """Tell whether a reply leaves its connection open (RFC 9112, 9.3)."""
    connection = _fields(reply).get("connection", "")
    return connection == "keep-alive" if reply.startswith(b"HTTP/1.0") else connection != "close"


def _fields(reply: bytes) -> dict[str, str]:
    head = reply.partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = (line.partition(":") for line in head.split("\r\n")[1:])
    return {name.lower(): value.strip().lower() for name, _, value in pairs}
