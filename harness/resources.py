"""Descriptors and memory of processes: what a server must have back when it is quiet."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KILO = 1024
_SOCKET = "socket:["


@dataclass(frozen=True, slots=True)
class Held:
    """What a process has."""

    sockets: int
    others: int
    """Descriptors of anything else."""
    rss_bytes: int
    allocated_bytes: int
    """Anonymous memory. Pages that it shares with its parent until it writes to them count from the beginning, so that
    writing to them is no growth, as it would be of its own memory alone (USS)."""

    @property
    def descriptors(self) -> int:
        """All that are open."""
        return self.sockets + self.others


def held(pid: int) -> Held:
    """Look at a process. Raises ProcessLookupError when it has ended, and PermissionError."""
    kinds = _descriptors(pid)
    try:
        memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    sockets = sum(kind.startswith(_SOCKET) for kind in kinds)
    sizes = {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in memory.splitlines()[1:])}
    return Held(sockets, len(kinds) - sockets, sizes["Rss"] * _KILO, sizes["Anonymous"] * _KILO)


def socket_inodes(pid: int) -> set[int]:
    """List the sockets that a process holds. Raises ProcessLookupError."""
    return {int(kind[len(_SOCKET) : -1]) for kind in _descriptors(pid) if kind.startswith(_SOCKET)}


def largest(several: Iterable[Held]) -> Held:
    """Return of each figure the largest."""
    found = list(several)
    return Held(
        max(one.sockets for one in found),
        max(one.others for one in found),
        max(one.rss_bytes for one in found),
        max(one.allocated_bytes for one in found),
    )


def _descriptors(pid: int) -> list[str]:
    """Tell of each descriptor of a process what it is. Raises ProcessLookupError."""
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208  texts, as readlink gives them too
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))  # noqa: PTH115  a Path would take it for a file
    except FileNotFoundError as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    return found
