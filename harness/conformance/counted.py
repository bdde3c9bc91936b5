"""What a server has counted, as its ``-v`` lines tell."""

import re

from harness import processes
from harness.conformance.violation import ContractViolation
from harness.servers import Server

TOTAL = "Request/s "
"""How the line of each second begins that follows those of the workers, and stands alone without ``-v``."""
COUNTED_WITHIN_S = 4.0
"""How soon what has happened must be in the lines that come every second."""


def counted(server: Server, kind: str) -> int:
    """Add up what the lines so far say after ``KIND=``."""
    return sum(int(number) for number in re.findall(rf"\b{kind}=(\d+)", "\n".join(server.stderr_lines())))


def seconds(server: Server) -> int:
    """Tell for how many seconds there are lines."""
    return sum(line.startswith(TOTAL) for line in server.stderr_lines())


def expect_counted(server: Server, kind: str, least: int = 1, most: int | None = None) -> None:
    """See how often a kind of thing has happened: ``least``, and no more than ``most``, where that is known.

    With ``most`` it waits for the lines of two more seconds, so that no more can come than has happened by now.
    """
    printed = seconds(server)
    reached = processes.wait_until(lambda: counted(server, kind) >= least, COUNTED_WITHIN_S)
    if reached and most is not None:
        # The next lines may be about to be printed, and tell less than has happened by now; those after them tell all.
        processes.wait_until(lambda: seconds(server) >= printed + 2, COUNTED_WITHIN_S)
    seen = counted(server, kind)
    if seen < least or (most is not None and seen > most):
        wanted = f"{kind}={least}" if most == least else f"{kind} of {least} or more"
        raise ContractViolation(f"{wanted} in the -v lines, in sum", f"{seen}" if seen else "0, or none with that name")
