"""What a check of one obligation comes to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_MOST_NAMES = 6

Outcome = Literal["passed", "failed", "skipped", "not asked"]
"""``skipped``: the machine lacks something; ``not asked``: of a peer, whose own way it may be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an implementation keeps one obligation of CONTRACT.md."""

    id: str
    title: str
    outcome: Outcome
    message: str
    """What was expected and what was seen, or why nothing could be seen, in one line; empty when passed."""
    duration_s: float


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Make one verdict of those on the variants of a case: a failure decides, then what could not be checked."""
    ordered = list(verdicts)
    decisive = next((v for v in ordered if v.outcome == "failed"), None) or next(
        (v for v in ordered if v.outcome == "skipped"), ordered[0]
    )
    messages = together(v.message for v in ordered if v.outcome == decisive.outcome and v.message)
    return Verdict(
        decisive.id, decisive.title, decisive.outcome, "; ".join(messages), sum(v.duration_s for v in ordered)
    )


def together(messages: Iterable[str]) -> list[str]:
    """Join messages that give the same reason: ``A: why`` and ``B: why`` become ``A, B: why``."""
    names: dict[str, list[str]] = {}
    for message in messages:
        name, _, reason = message.partition(": ")
        names.setdefault(reason, []).append(name)
    return [f"{_listed(named)}: {reason}" for reason, named in names.items()]


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
