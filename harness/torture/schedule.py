"""When which fault is injected, drawn from a seed: pure, so that the same seed gives the same."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill", "pause", "remove log", "full log", "storm"]
KINDS: tuple[Kind, ...] = ("kill", "pause", "remove log", "full log", "storm")
_WEIGHTS = (4, 5, 2, 1, 1)
_REST_S = (0.2, 1.0)
_BACKENDS_LIVE_S = (0.3, 3.0)
"""Longer, so that some live for as long as a proxy waits for one that is silent."""
_PAUSE_S = (0.02, 0.5)
_ALL_OUT_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one server's processes or log."""

    rest_s: float
    """How long after the one before it."""
    kind: Kind
    worker: float
    """Which one, as a share of them."""
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Death:
    """The death of some backends, and when they return."""

    rest_s: float
    backends: tuple[int, ...]
    lasts_s: float


def faults(seed: int, server: str) -> Iterator[Fault]:
    """Draw the faults of a server, without an end."""
    source = random.Random(f"{seed} {server} faults")
    while True:
        [kind] = source.choices(KINDS, _WEIGHTS)
        yield Fault(source.uniform(*_REST_S), kind, source.random(), source.uniform(*_PAUSE_S))


def deaths(seed: int, backends: int) -> Iterator[Death]:
    """Draw the deaths of backends, without an end."""
    source = random.Random(f"{seed} backends")
    while True:
        everyone = source.random() < _ALL_OUT_SHARE
        chosen = tuple(range(backends)) if everyone else (source.randrange(backends),)
        yield Death(source.uniform(*_BACKENDS_LIVE_S), chosen, source.uniform(*_PAUSE_S))
