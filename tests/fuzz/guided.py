"""A fuzzer guided by coverage.

An input that makes the code go from one line to another as none before did is kept, and the next are made of the kept.
"""

import math
import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

Step = tuple[str, int, int]
"""File, line before and line."""
_MOST_CHANGES = 4
_LONGEST = 4096
_SHRINK_TRIES = 400
_SHRINK_S = 30.0
LONGEST_RUN_S = 5.0
"""CPU time of one input; the slowest takes some hundredths."""


class TooLong(BaseException):
    """A target does not come to an end. No Exception, as targets may take one of these for what they expect."""


@dataclass(frozen=True)
class Target:
    """Something that parses. ``check`` raises for what must not be, and for nothing else."""

    name: str
    check: Callable[[bytes], None]
    files: Collection[str]
    """Ends of the paths of the files whose lines guide."""
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()
    """What random bytes would take long to find."""


@dataclass
class Found:
    """What came of fuzzing a target."""

    tried: int = 0
    kept: list[bytes] = field(default_factory=list)
    steps: set[Step] = field(default_factory=set)
    failure: str = ""
    """Of the first input that failed; empty when none did."""
    smallest: bytes = b""
    """What still fails in the same way."""


class Fuzzer:
    """Fuzzes one target, some inputs at a time."""

    def __init__(self, target: Target, seed: int, *, guided: bool = True) -> None:
        self._target = target
        self._rng = random.Random(seed)
        self._guided = guided
        self._seeds = iter(target.seeds)
        self.found = Found()

    def go_on(self, inputs: int, end_s: float = math.inf) -> None:
        """Try so many inputs more, until a time on the monotonic clock or until one fails; that one is made smaller."""
        found = self.found
        for _ in range(inputs):
            if found.failure or time.monotonic() >= end_s:
                return
            data = next(self._seeds, None)
            if data is None:
                data = _changed(self._rng, found.kept or list(self._target.seeds), self._target.tokens)
            found.tried += 1
            failure, steps = _run(self._target, data)
            if failure:
                found.failure, found.smallest = failure, _smaller(self._target, data, failure)
            elif self._guided and not steps <= found.steps:
                found.steps |= steps
                found.kept.append(data)


def fuzz(target: Target, seed: int, for_s: float, most: int = sys.maxsize, *, guided: bool = True) -> Found:
    """Try inputs until the time is over, so many were tried, or one fails."""
    fuzzer = Fuzzer(target, seed, guided=guided)
    fuzzer.go_on(most, time.monotonic() + for_s)
    return fuzzer.found


@contextmanager
def _bounded() -> Iterator[None]:
    """Raise TooLong in what takes more than its share of the CPU's time, however busy the machine is."""

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise TooLong(f"more than {LONGEST_RUN_S:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_RUN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _run(target: Target, data: bytes) -> tuple[str, set[Step]]:
    """Return how the target failed, empty when it did not, and the steps that it took."""
    steps: set[Step] = set()
    files = tuple(target.files)

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(files):
            return None
        name, before = frame.f_code.co_filename, frame.f_lineno

        def step(frame: FrameType, _event: str, _argument: Any) -> Any:
            nonlocal before
            steps.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    traced = sys.gettrace()
    sys.settrace(enter)
    try:
        with _bounded():
            target.check(data)
    except TooLong as error:
        return f"TooLong: {error}", steps
    except Exception as error:  # noqa: BLE001  whatever it raises is the finding
        return f"{type(error).__name__}: {error}"[:300], steps
    finally:
        sys.settrace(traced)
    return "", steps


def _changed(rng: random.Random, kept: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    data = bytearray(rng.choice(kept))
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        at = rng.randint(0, len(data))
        until = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 32)))
        match rng.randrange(6):
            case 0:
                del data[at:until]
            case 1:
                data[at:at] = data[at:until]
            case 2 if tokens:
                data[at : rng.choice((at, until))] = rng.choice(tokens)
            case 3:
                other = rng.choice(kept)
                begin = rng.randint(0, len(other))
                data[at:until] = other[begin : begin + rng.choice((1, 8, 64))]
            case 4 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case _:
                data[at:until] = rng.randbytes(rng.choice((1, 1, 2, 4)))
    return bytes(data[:_LONGEST])


def _smaller(target: Target, data: bytes, failure: str) -> bytes:
    """Leave out what is not needed to fail with an error of the same type."""
    kind, tries, size = failure.partition(":")[0], 0, max(1, len(data) // 2)
    end_s = time.monotonic() + _SHRINK_S
    while size and tries < _SHRINK_TRIES and time.monotonic() < end_s:
        for at in range(0, len(data), size):
            if time.monotonic() >= end_s:
                break
            tries += 1
            shorter = data[:at] + data[at + size :]
            if _run(target, shorter)[0].partition(":")[0] == kind:
                data = shorter
                break
        else:
            size //= 2
    return data
