"""The limit on open files (RLIMIT_NOFILE): each connection takes one on each side."""

import resource
from collections.abc import Iterable

from harness.errors import BadInput
from harness.schema import Cell
from harness.testbed import sysctl

RESERVE = 200
"""What a process has open beside its connections, at most."""


def allow(cells: Iterable[Cell]) -> None:
    """Raise the limit for all that this process starts, as far as the cells need it.

    Raises BadInput when that is not allowed.
    """
    needs = {cell.key: files_needed(cell) for cell in cells}
    key = max(needs, key=lambda key: needs[key])
    needed, (soft, hard) = needs[key], resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, hard), max(needed, hard)))
    except (OSError, ValueError):  # ValueError: only root may raise the hard limit
        raise BadInput(
            f"{key}: a process needs {needed:,} open files, and may have {hard:,}; {advice(needed)}"
        ) from None


def check(cells: Iterable[Cell]) -> None:
    """Find out whether ``allow`` would be allowed, and leave the limit as it is. Raises BadInput when not."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        allow(cells)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def advice(needed: int) -> str:
    """Say what to do where so many open files are not allowed."""
    largest = int(sysctl.read("fs.nr_open"))
    first = f"as root, 'sysctl -w fs.nr_open={needed}', then " if needed > largest else ""
    return (
        f"{first}raise the limit with 'ulimit -Hn {needed}' as root, "
        f"or for good with 'nofile {needed}' in /etc/security/limits.conf (systemd: LimitNOFILE)"
    )


def limit_of(pid: int) -> int:
    """Return how many files a process may have open. Raises ProcessLookupError."""
    soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return soft


def files_needed(cell: Cell) -> int:
    """Tell how many one process may need: the only worker, in the proxy with a connection to the backend for each."""
    busy = cell.concurrency * (2 if cell.workload == "proxy" else 1)
    return busy + cell.idle + RESERVE
