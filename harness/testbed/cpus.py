"""The machine's CPUs: how sets of them are written, and which are hyper-threads of one core, which in one socket."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

MOST = 8192
"""The most CPUs that a Linux kernel can be built for (NR_CPUS), so that a typing error is no long list."""
_WORD_BITS = 32
_TOPOLOGY = "sys/devices/system/cpu"
_ROOT = Path("/")


def parse(text: str) -> tuple[int, ...]:
    """Read ``0,2-5``, the kernel's own way to write a set of CPUs. Raises ValueError."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _number(first)
        high = _number(last) if dash else low
        if high < low:
            raise ValueError(f"{part.strip()!r} counts downwards")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def write(cpus: Iterable[int]) -> str:
    """Write a set of CPUs as ``parse`` reads it."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in _runs(sorted(set(cpus))))


def mask(cpus: Iterable[int]) -> str:
    """Write a set of CPUs as the kernel reads it: hexadecimal groups of 32 bits, the highest first.

    >>> mask([0, 33])
    '2,00000001'
    """
    bits = sum(1 << cpu for cpu in set(cpus))
    words: list[int] = []
    while bits or not words:
        words.append(bits % (1 << _WORD_BITS))
        bits >>= _WORD_BITS
    first, *rest = reversed(words)
    return ",".join([f"{first:x}", *(f"{word:08x}" for word in rest)])


def parse_mask(text: str) -> tuple[int, ...]:
    """Read a set of CPUs that ``mask`` or the kernel wrote. Raises ValueError.

    >>> parse_mask("2,00000001")
    (0, 33)
    """
    bits = int("".join(word.zfill(_WORD_BITS // 4) for word in text.strip().split(",")), 16)
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def siblings(root: Path = _ROOT) -> Mapping[int, frozenset[int]]:
    """Tell for each CPU which are hyper-threads of its core, itself among them; empty where the kernel does not say."""
    found = {}
    for path in (root / _TOPOLOGY).glob("cpu[0-9]*/topology/thread_siblings_list"):
        try:
            found[int(path.parts[-3].removeprefix("cpu"))] = frozenset(parse(path.read_text()))
        except (OSError, ValueError):
            continue  # it was switched off just now
    return found


def packages(root: Path = _ROOT) -> Mapping[int, int]:
    """Tell which package, which is the socket, each CPU is in; empty where the kernel does not say."""
    found = {}
    for path in (root / _TOPOLOGY).glob("cpu[0-9]*/topology/physical_package_id"):
        try:
            found[int(path.parts[-3].removeprefix("cpu"))] = int(path.read_text())
        except (OSError, ValueError):
            continue  # it was switched off just now
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and int(text) < MOST):
        raise ValueError(f"{text!r} is not the number of a CPU")
    return int(text)


def _runs(cpus: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of consecutive numbers."""
    starts = [cpu for before, cpu in pairwise([-2, *cpus]) if cpu != before + 1]
    ends = [cpu for cpu, after in pairwise([*cpus, MOST + 1]) if after != cpu + 1]
    yield from zip(starts, ends, strict=True)
