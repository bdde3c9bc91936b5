"""What the workers of a server tell of themselves, once a second with ``-v`` (CONTRACT.md, STAT-VERBOSE)."""

import os
import re
from pathlib import Path

_MOST_BYTES = 1_048_576
"""Of a call: what prints more gets its figures later."""
_LINE = re.compile(rb"worker (\d{1,9}) cpu \d+ requests \d+ accepted (\d{1,15}) ")


class AcceptedConnections:
    """Reads from a server's standard error how many connections each worker has accepted."""

    def __init__(self, stderr: Path, workers: int) -> None:
        self._stderr = stderr
        self._workers = workers
        self._offset = 0

    def __call__(self) -> list[int]:
        """Return for each worker the connections told of since the last call; an empty list when nothing was told."""
        with self._stderr.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:
                return []  # it was too long, and shortened (output_bound.py)
            file.seek(self._offset)
            data = file.read(_MOST_BYTES)
        lines = data[: data.rfind(b"\n") + 1]
        if not lines and len(data) == _MOST_BYTES:
            lines = data  # no line is that long: what it is would stand in the way for ever
        self._offset += len(lines)
        accepted = [0] * self._workers
        for worker, count in _LINE.findall(lines):
            if int(worker) < self._workers:
                accepted[int(worker)] += int(count)
        return accepted if any(accepted) else []
