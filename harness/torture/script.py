"""What both ends do in one exchange, drawn from a seed: pure, so that the same seed gives the same."""

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from harness.torture.way import REPLY_TIMEOUT_S, Way

Stage = Literal["before the request", "within the request", "after the request", "within the reply"]
Act = Literal["answer", "answer early", "fall silent", "end", "reset"]
"""What a backend does. It falls silent, ends or resets the connection after a share of its reply, which may be none."""

LARGEST_BYTES = 4_000_000
SLOW_BYTES = 1_000_000
"""What is read slowly has so much at least: more than a proxy and the buffers before and behind it hold."""
SMALL_BYTES = 1_500
KEPT_BYTES = 200
"""In keep-alive server mode: one read, so that there is exactly one reply, and short, as the log has all of it."""
SILENT_S = REPLY_TIMEOUT_S + 5.0
"""Longer than a proxy waits."""

_MOST_PAUSES = 12
_LONGEST_PAUSE_S = 0.03
_SLOW_SHARE, _STALL_SHARE, _FAULT_SHARE = 0.03, 0.02, 0.05
_LARGE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Pace:
    """How one side moves its bytes: cut at these shares of them, with a pause after each piece."""

    cuts: tuple[float, ...] = ()
    pause_s: float = 0.0

    def pieces(self, size: int) -> list[tuple[int, int]]:
        """Return the begin and end of each piece; none is empty."""
        marks = sorted({0, size, *(int(cut * size) for cut in self.cuts)})
        return list(pairwise(marks))


AT_ONCE = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One exchange."""

    request_bytes: int
    reply_bytes: int
    with_length: bool = True
    """Whether a backend's reply says how long it is."""
    writing: Pace = AT_ONCE
    slow_reading: Pace = AT_ONCE
    half_close: bool = False
    """The client ends its stream after the request."""
    reset: Stage | None = None
    """Where the client resets its connection."""
    reset_at: float = 0.0
    """Within the request or the reply: after which share of it."""
    act: Act = "answer"
    act_at: float = 0.0
    stall_s: float = 0.0
    """How long the backend rests in the middle of its reply."""
    replying: Pace = AT_ONCE
    taking: Pace = AT_ONCE
    """How a backend reads the request: with a pause after each of as many reads as there are pieces."""
    stays_open: bool = False
    """Whether the backend leaves its connection open after a reply that says how long it is."""


def draw(source: random.Random, way: Way) -> Script:
    """Draw an exchange. Each call takes what it needs from ``source``, so only whole sequences repeat."""
    # A kept connection of server mode answers each read, so a request in pieces has no one reply.
    may_split = way.proxied or not way.kept
    is_large = source.random() < _LARGE_SHARE and may_split
    request_bytes = source.randrange(SMALL_BYTES if may_split else KEPT_BYTES)
    reply_bytes = source.choice([0, 1, source.randrange(200), source.randrange(20_000)])
    if is_large:
        request_bytes = source.choice([request_bytes, source.randrange(LARGEST_BYTES)])
        reply_bytes = source.randrange(LARGEST_BYTES)
    act, act_at = _draw_act(source, way) if way.proxied else ("answer", 0.0)
    slow_reading, taking = _draw_pace(source), _draw_pace(source) if way.proxied else AT_ONCE
    if slow_reading.pause_s and way.proxied:
        reply_bytes = source.randrange(SLOW_BYTES, 2 * SLOW_BYTES)
    if taking.pause_s:
        request_bytes = source.randrange(SLOW_BYTES, 2 * SLOW_BYTES)
    if act == "answer early":
        request_bytes = 100_000 + source.randrange(1_000_000)
    reset: Stage | None = None
    if source.random() < _FAULT_SHARE:
        reset = source.choice(["before the request", "within the request", "after the request", "within the reply"])
    return Script(
        request_bytes=request_bytes,
        reply_bytes=reply_bytes,
        # An early answer may be followed by a reset, which leaves open whether it was whole.
        with_length=way.kept or act == "answer early" or source.random() < 0.7,  # noqa: PLR2004  a share, as the others here
        writing=_draw_pace(source) if may_split else AT_ONCE,
        slow_reading=slow_reading,
        half_close=source.random() < _FAULT_SHARE,
        reset=reset,
        reset_at=source.random(),
        act=act,
        act_at=act_at,
        stall_s=source.uniform(0.05, 0.8) if source.random() < _STALL_SHARE else 0.0,
        replying=_draw_pace(source),
        taking=taking,
        stays_open=source.random() < 0.3,  # noqa: PLR2004  a share, as the others here
    )


def _draw_act(source: random.Random, way: Way) -> tuple[Act, float]:
    if source.random() >= _FAULT_SHARE:
        return "answer", 0.0
    acts: list[Act] = ["end", "reset", "end", "reset"]
    if not way.kept:  # what follows an early answer on a kept connection would be the rest of its request
        acts += ["answer early", "answer early"]
    if source.random() < 0.1:  # noqa: PLR2004  rarely, as it takes seconds
        acts = ["fall silent"]
    return source.choice(acts), source.choice([0.0, source.random(), source.random()])


def _draw_pace(source: random.Random) -> Pace:
    """Draw a pace: mostly at once, in a few pieces without a rest, or slowly."""
    kind = source.random()
    if kind > 2 * _SLOW_SHARE:
        return AT_ONCE
    cuts = tuple(source.random() for _ in range(source.randint(1, _MOST_PAUSES)))
    return Pace(cuts, source.uniform(0.001, _LONGEST_PAUSE_S) if kind < _SLOW_SHARE else 0.0)
