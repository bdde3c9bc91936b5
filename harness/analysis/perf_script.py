"""Reading what ``perf script`` prints: a line for each sample, and under it its stack, the innermost function first."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.analysis.profile_rules import Frame

FIELDS = "comm,pid,tid,cpu,time,event,ip,sym,dso"
"""What it is to print (``-F``), with the time in nanoseconds (``--ns``)."""
_HEAD = re.compile(r"(.+?)\s+(-?\d+)/-?\d+\s+\[(\d+)\]\s+(\d+)\.(\d{9}):\s+\S+:\s*")
_FRAME = re.compile(r"\s+[0-9a-f]+ (.*?) \(([/\[].*|[^()]*)\)")
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What a CPU did at one moment."""

    program: str
    pid: int
    """0 for the idle task."""
    cpu: int
    at_ns: int
    """By the clock that perf recorded with."""
    stack: tuple[Frame, ...]
    lines: tuple[str, ...]
    """Those of its stack, as they were printed."""


@dataclass(slots=True)
class Reader:
    """Reads samples one by one, and counts what it cannot read: a program's name may hold anything."""

    unread: int = 0
    _frames: dict[str, Frame | None] = field(default_factory=dict)

    def samples(self, lines: Iterable[str]) -> Iterator[Sample]:
        """Yield one sample after the other. Memory is taken for each different line of a stack, once."""
        block: list[str] = []
        for line in lines:
            if line != "\n":
                block.append(line)
            elif block:
                yield from self._sample(block)
                block = []
        if block:
            yield from self._sample(block)

    def _sample(self, block: list[str]) -> Iterator[Sample]:
        head = _HEAD.fullmatch(block[0].rstrip("\n"))
        frames = [self._frame(line) for line in block[1:]]
        stack = tuple(frame for frame in frames if frame is not None)
        if head is None or len(stack) < len(frames):
            self.unread += 1
            return
        at_ns = int(head[4]) * _NS_PER_S + int(head[5])
        yield Sample(head[1].strip(), int(head[2]), int(head[3]), at_ns, stack, tuple(block[1:]))

    def _frame(self, line: str) -> Frame | None:
        if line not in self._frames:
            found = _FRAME.fullmatch(line.rstrip("\n"))
            self._frames[line] = Frame(_OFFSET.sub("", found[1]), found[2]) if found else None
        return self._frames[line]
