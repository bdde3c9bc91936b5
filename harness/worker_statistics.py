"""What the workers of a server tell of themselves, once a second with ``-v`` (CONTRACT.md, STAT-VERBOSE)."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.schema import WorkerLocality

_MOST_BYTES = 1_048_576
"""Of a call: what prints more gets its figures later."""
_LINE = re.compile(
    rb"worker (\d{1,9}) cpu \d+ requests \d+ accepted (\d{1,15}) "
    rb"(?:events/poll \S{1,80} empty_polls \d{1,15} "
    rb"local_accepts (\d{1,15})/(\d{1,15}) local_backends (\d{1,15})/(\d{1,15}) )?"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What each worker has told, in order; both lists are empty where there was nothing to tell."""

    accepted: list[int] = field(default_factory=list)
    """Connections that it has accepted."""
    local: list[WorkerLocality] = field(default_factory=list)
    """Where their packets arrive."""


class WorkerStatistics:
    """Reads from a server's standard error what each worker has told of its connections."""

    def __init__(self, stderr: Path, workers: int) -> None:
        self._stderr = stderr
        self._workers = workers
        self._offset = 0

    def __call__(self) -> Told:
        """Return what was told since the last call."""
        accepted = [0] * self._workers
        local: list[Counter[str]] = [Counter() for _ in accepted]
        for worker, count, locality in self._lines():
            if worker < self._workers:
                accepted[worker] += count
                local[worker].update(locality)
        return Told(
            accepted if any(accepted) else [],
            [WorkerLocality(**counts) for counts in local] if any(one.total() for one in local) else [],
        )

    def _lines(self) -> Iterator[tuple[int, int, dict[str, int]]]:
        """Yield worker, connections and the fields of its locality for each new line."""
        for worker, accepted, *figures in _LINE.findall(self._new_text()):
            counts = dict(zip(WorkerLocality.__struct_fields__, (int(figure or 0) for figure in figures), strict=True))
            locality = WorkerLocality(**counts)
            can_be = locality.local_accepts <= locality.sampled_accepts
            can_be = can_be and locality.local_backends <= locality.sampled_backends
            yield int(worker), int(accepted), counts if can_be else {}

    def _new_text(self) -> bytes:
        """Return the lines that have become whole since the last call."""
        with self._stderr.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:
                return b""  # it was too long, and shortened (output_bound.py)
            file.seek(self._offset)
            data = file.read(_MOST_BYTES)
        lines = data[: data.rfind(b"\n") + 1]
        if not lines and len(data) == _MOST_BYTES:
            lines = data  # no line is that long: what it is would stand in the way for ever
        self._offset += len(lines)
        return lines
