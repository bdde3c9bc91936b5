"""Stacks of a profile put together: as folded lines, and as the tree that a flame graph shows."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis import profile_rules
from harness.analysis.perf_script import Sample
from harness.analysis.profile_rules import INTERRUPTS, Frame
from harness.schema import LARGEST

_KERNEL_MARK: Final = "_[k]"
"""What follows a kernel function's name in folded stacks, as the tools for them have it."""
_NAMELESS: Final = "[unknown]"
_EVENT: Final = "cpu-clock"
_NS_PER_S: Final = 1_000_000_000
LEAST_SHARE: Final = 0.0005
"""A frame with less of the samples is under a pixel wide, and left out of the tree."""

Folded = tuple[str, ...]
"""The program and its functions, the outermost first; what an interrupt began has INTERRUPTS for the program."""


def fold(sample: Sample) -> Folded:
    """Return a sample's stack from the outside in, below the name of its program or INTERRUPTS.

    Frames without a name are left out but for the innermost: without frame pointers they are rarely a caller.
    """
    interrupting = profile_rules.interrupting(sample.stack)
    program, stack = (sample.program, sample.stack) if interrupting is None else (INTERRUPTS, interrupting)
    outwards = [frame for depth, frame in enumerate(stack) if not depth or frame.symbol != _NAMELESS]
    return (_clean(program), *(_name(frame) for frame in reversed(outwards)))


def as_text(sample: Sample, impl: str, pids: Collection[int]) -> str:
    """Return a sample as perf prints it, for viewers that make a thread of each program, process and thread number.

    So that these are few and have names, there are two for each CPU: the server, whichever of its processes (``pids``)
    it was, and what interrupts have begun, as in ``fold``.
    """
    interrupting = profile_rules.interrupting(sample.stack)
    is_server = interrupting is None and sample.pid in pids
    # In brackets, as viewers take a number behind a space for the process.
    name = f"{impl if is_server else INTERRUPTS} (CPU {sample.cpu})"
    thread = 2 * sample.cpu + (1 if is_server else 2)
    depth = len(sample.lines) if interrupting is None else len(interrupting)
    at_s, ns = divmod(sample.at_ns, _NS_PER_S)
    head = f"{_clean(name)} {thread}/{thread} [{sample.cpu:03}] {at_s}.{ns:09}: {_EVENT}: \n"
    return "".join((head, *sample.lines[:depth], "\n"))


def _name(frame: Frame) -> str:
    if frame.symbol == _NAMELESS:
        return f"[{_clean(frame.file.strip('[]').rpartition('/')[2])}]"
    return _clean(frame.symbol) + (_KERNEL_MARK if frame.is_kernel else "")


def _clean(name: str) -> str:
    """Return a name that can stand in a folded line, where a semicolon divides."""
    return name.replace(";", ":") if name.isprintable() else ascii(name).replace(";", ":")


def is_kernel(name: str) -> bool:
    """Tell whether a name of a folded stack is a kernel function's."""
    return name.endswith(_KERNEL_MARK)


def lines(counts: Mapping[Folded, int]) -> Iterator[str]:
    """Yield the folded stacks, ``program;outer;inner COUNT`` each, in alphabetical order."""
    for stack, count in sorted(counts.items()):
        yield f"{';'.join(stack)} {count}\n"


def parsed(line: str) -> tuple[Folded, int]:
    """Take a folded line apart. Raises ValueError where it is none."""
    stack, _, count = line.rstrip("\n").rpartition(" ")
    if not stack or not count.isdecimal() or not 0 < int(count) <= LARGEST:
        raise ValueError("is no stack with the number of its samples behind it")
    return tuple(stack.split(";")), int(count)


@dataclass(slots=True)
class Node:
    """A function within its callers."""

    name: str
    samples: int = 0
    """Its own, and those of all that it called."""
    children: list["Node"] = field(default_factory=list)
    """In alphabetical order."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a flame graph shows."""

    root: Node
    left_out: int
    """Frames that would be too thin to be seen."""


def tree(counts: Mapping[Folded, int], name: str, least_share: float = LEAST_SHARE) -> Tree:
    """Put stacks together; what has a smaller share of the samples is left out with all that it called."""
    total = sum(counts.values())
    root, left_out = _node(name, [*counts.items()], 0, max(1.0, least_share * total))
    return Tree(root, left_out)


def _node(name: str, stacks: Sequence[tuple[Folded, int]], depth: int, least: float) -> tuple[Node, int]:
    """Make the node of all these stacks, which have the first ``depth`` names in common."""
    deeper: dict[str, list[tuple[Folded, int]]] = {}
    sizes: Counter[str] = Counter()
    for stack, count in stacks:
        if len(stack) > depth:
            deeper.setdefault(stack[depth], []).append((stack, count))
            sizes[stack[depth]] += count
    node, left_out = Node(name, sum(count for _, count in stacks)), 0
    for child_name in sorted(deeper):
        if sizes[child_name] < least:
            left_out += 1
            continue
        child, of_child = _node(child_name, deeper[child_name], depth + 1, least)
        node.children.append(child)
        left_out += of_child
    return node, left_out
