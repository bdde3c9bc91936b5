"""What one request takes, from counts of several rounds that should all be the same."""

from collections.abc import Mapping, Sequence

import msgspec

from harness.schema import Positive, TestbedName, Workload

Counts = Mapping[str, int]
"""Of one round, by name."""


class Figure(msgspec.Struct, frozen=True):
    """How many of something one request takes."""

    value: float
    """The mean over the rounds."""
    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """Whether every round had the same."""
        return self.low == self.high


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What one request takes when so many come at a time."""

    at_a_time: Positive
    calls: Mapping[str, Figure]
    """System calls by name."""
    wakeups: Figure | None
    """None for a proxy: whether it sleeps while a backend accepts is a matter of microseconds."""
    segments: Mapping[str, Figure]
    """Of the server's host, ``in`` and ``out``, and of the backend's, ``backend in`` and ``backend out``.

    Empty for a bunch, and on loopback.
    """
    instructions: Figure | None = None

    @property
    def all_calls(self) -> Figure:
        """All system calls together; exact where each of them is."""
        figures = self.calls.values()
        return Figure(
            sum(figure.value for figure in figures),
            sum(figure.low for figure in figures),
            sum(figure.high for figure in figures),
        )

    def varying(self) -> Mapping[str, Figure]:
        """Return what was not the same in every round. Instructions are left out, which never are."""
        return {name: figure for name, figure in self._counted().items() if not figure.is_exact}

    def _counted(self) -> Mapping[str, Figure]:
        segments = {f"segments {direction}": figure for direction, figure in self.segments.items()}
        wakeups = {"wake-ups": self.wakeups} if self.wakeups else {}
        return {**self.calls, **wakeups, **segments}


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one request of a workload takes of one server."""

    impl: str
    workload: Workload
    alone: Taken
    bunch: Taken | None = None
    """None where no order can be given to what happens in a bunch."""


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """All that one command has counted."""

    testbed: TestbedName
    notes: Sequence[str] = ()
    """Why something is not told."""
    costs: Sequence[Cost]


def per_request(
    rounds: Sequence[Counts], requests: int, holds: int = 0, of_a_hold: Mapping[str, float] | None = None
) -> dict[str, Figure]:
    """Divide what each round counted by the requests that it had, and leave out what no round has anything of.

    Each round had so many ``holds``; ``of_a_hold`` is what one takes by itself.
    """
    less = of_a_hold or {}
    found = {}
    for name in dict.fromkeys(name for counts in rounds for name in counts):
        values = [(counts.get(name, 0) - holds * less.get(name, 0)) / requests for counts in rounds]
        if any(values):
            found[name] = Figure(sum(values) / len(values), min(values), max(values))
    return found
