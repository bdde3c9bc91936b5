"""ab, ApacheBench: one process for each client CPU, as those who measured with the original server ran it.

What to know of its figures:

- It compares the length of each reply's body with that of the first reply, and looks at no byte. Here the length of
  the first must be that of the expected reply, too; otherwise no reply counts as correct.
- ``-t`` sets the number of requests to 50000, which a core does in half a second on kept connections; a ``-n`` after
  it takes that back, one before it does not.
- Without ``-r`` it gives up at the first reset. With it a failed request is counted under up to three headings, and
  as complete as well: the correct ones are at least the complete less all of those.
- It gives up, and tells nothing, when for ``-s`` seconds nothing has come on any connection.
- Latencies are from before the connect to the end of the stream, those of failed requests among them. It tells them
  for each per cent: a latency is right to that, and the p99.9 made of them is its longest.
- Connections that are kept are opened within its time.
"""

import errno
import os
import re
from pathlib import Path

from harness.loadgen.client import GeneratorFailed
from harness.loadgen.connections import CONNECT, TIMEOUT, WRONG_REPLY
from harness.loadgen.messages import Job
from harness.loadgen.witnesses.base import NOT_KEPT, STATUS, Printed, Tally, Witness, seconds, url
from harness.schema import NO_LOCAL_PORT

MOST_PER_S = 500_000
"""More than a core can do. ab sets memory aside for each, which costs nothing before it is used."""

_COUNT = r"^{}: +([0-9.]+)"
_FAILURES = re.compile(r"\(Connect: (\d+), Receive: (\d+), Length: (\d+), Exceptions: (\d+)\)")
_APR_TIMEUP = "(70007)"
"""APR_TIMEUP, which ab prints when nothing has come for as long as ``-s`` says (apr_errno.h)."""


class Ab(Witness):
    """ab in the place of a generator process."""

    program = "ab"
    package = "apache2-utils"

    @staticmethod
    def arguments(job: Job, quantiles: Path) -> list[str]:
        """Return ab's arguments: HTTP/1.0, for kept connections with ``-k``."""
        duration = seconds(job.duration_s)
        kept = ["-k"] if job.workload == "keepalive" else []
        limits = ["-t", duration, "-n", str(MOST_PER_S * int(duration)), "-s", seconds(job.timeout_s)]
        return ["-q", "-r", "-S", *kept, *limits, "-c", str(job.concurrency), "-e", str(quantiles), url(job)]

    @staticmethod
    def read(job: Job, printed: Printed) -> Tally:
        """Read the counts from the text, which is the only place for them, and the latencies from the CSV file.

        Raises GeneratorFailed for what ab does not print.
        """
        try:
            return _read(job, printed)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise GeneratorFailed(f"ab printed figures that cannot be: {error}") from error


def _read(job: Job, printed: Printed) -> Tally:
    if printed.status:
        kind = TIMEOUT if _APR_TIMEUP in printed.stderr else f"ab: {printed.last_words}"
        if os.strerror(errno.EADDRNOTAVAIL) in printed.stderr:
            kind = NO_LOCAL_PORT
        return Tally(errors={kind: job.concurrency})
    complete = int(_figure(printed, "Complete requests"))
    if not complete:
        return Tally(errors={TIMEOUT: job.concurrency})
    failed = int(_figure(printed, "Failed requests"))
    status = int(_figure(printed, "Non-2xx responses", 0))
    correct = max(complete - failed - status, 0)
    errors = {**_failures(printed), STATUS: status, "write": int(_figure(printed, "Write errors", 0))}
    if correct and int(_figure(printed, "Document Length")) != _body_length(job.reply):
        return Tally(errors={**errors, WRONG_REPLY: complete})
    if job.workload == "keepalive":
        errors[NOT_KEPT] = complete - int(_figure(printed, "Keep-Alive requests", 0))
    # The rate has more digits than the time, which is in milliseconds.
    duration_s = complete / _figure(printed, "Requests per second")
    return Tally(correct, round(duration_s * 1e9), _quantiles_ns(printed.quantiles) if correct else (), errors)


def _figure(printed: Printed, name: str, absent: float | None = None) -> float:
    """Return a figure of the text. Raises GeneratorFailed when it is not there and may not be ``absent``."""
    found = re.search(_COUNT.format(re.escape(name)), printed.stdout, re.MULTILINE)
    if found:
        return float(found[1])
    if absent is None:
        raise GeneratorFailed(f"ab printed no line {name!r}; its last line is {printed.last_words!r}")
    return absent


def _failures(printed: Printed) -> dict[str, int]:
    found = _FAILURES.search(printed.stdout)
    kinds = (CONNECT, "receive", WRONG_REPLY, "exception")
    return dict(zip(kinds, map(int, found.groups()), strict=True)) if found else {}


def _quantiles_ns(csv: str) -> list[int]:
    """Read the lines ``percentage,milliseconds`` under the heading."""
    return [round(float(line.partition(",")[2]) * 1e6) for line in csv.splitlines()[1:]]


def _body_length(reply: bytes) -> int:
    return len(reply.partition(b"\r\n\r\n")[2])
