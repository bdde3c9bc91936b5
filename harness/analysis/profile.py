"""From samples to CPU time per request: each sample is sorted into a turn, a category and a context."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis import profile_rules, stats
from harness.analysis.perf_script import Sample
from harness.analysis.profile_rules import CATEGORIES, NOT_OF_REQUESTS, OTHER_KERNEL, UNKNOWN, Stack
from harness.profile_schema import ImplementationProfile, Part
from harness.schema import Estimate

_IDLE_TASK = 0
_NS_PER_US = 1000
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One server's turn under load, and all that the samples of its time were about."""

    impl: str
    round: int
    block: int
    started_ns: int
    """By the machine's monotonic clock, as ``ended_ns``."""
    ended_ns: int
    requests: int
    """Correct replies."""
    offered: float = 0.0
    """So many were due on average."""
    errors: int = 0
    server_cpu_ns: int = 0
    """CPU time of the server's processes, by the kernel's own account."""
    pids: frozenset[int]
    """The server's processes."""
    categories: Counter[str] = field(default_factory=Counter)
    contexts: Counter[str] = field(default_factory=Counter)
    within_others: Counter[str] = field(default_factory=Counter)
    """By category, those of requests' work that were taken while an interrupt had stopped another program."""

    @property
    def samples(self) -> int:
        """All of its time, idle ones too."""
        return self.categories.total()


@dataclass(frozen=True, slots=True)
class Sorted:
    """A sample of somebody's turn."""

    turn: Turn
    sample: Sample
    category: str

    @property
    def is_of_requests(self) -> bool:
        """Whether it is of what requests take, and not of idle time or of another program."""
        return self.category not in NOT_OF_REQUESTS


class Sorter:
    """Sorts samples, and counts each in its turn; what is of no turn is left out."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.started_ns)
        self._starts_ns = [turn.started_ns for turn in self._turns]
        self._known: dict[tuple[Stack, bool], tuple[str, str, bool]] = {}
        """There are far fewer different stacks than samples."""

    def sort(self, sample: Sample) -> Sorted | None:
        """Find a sample's turn, category and context; None for one of no turn."""
        place = bisect_right(self._starts_ns, sample.at_ns) - 1
        if place < 0 or sample.at_ns >= self._turns[place].ended_ns:
            return None
        turn = self._turns[place]
        key = (sample.stack, sample.pid == _IDLE_TASK or sample.pid in turn.pids)
        if key not in self._known:
            stack, is_own = key
            self._known[key] = (
                profile_rules.category(stack, is_own=is_own),
                profile_rules.context(stack, is_own=is_own),
                profile_rules.is_within_another(stack, is_own=is_own),
            )
        category, context, is_within_another = self._known[key]
        turn.categories[category] += 1
        turn.contexts[context] += 1
        found = Sorted(turn, sample, category)
        turn.within_others[category] += found.is_of_requests and is_within_another
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the counts are to be taken with."""

    cpus: int
    """How many were recorded."""
    frequency_hz: int
    seed: int


def sum_up(name: str, turns: Sequence[Turn], setting: Setting, failure: str = "") -> ImplementationProfile:
    """Tell where the core goes in one implementation; turns without a sample or a reply are left out."""
    counted = [turn for turn in turns if turn.samples and turn.requests]
    categories: Counter[str] = sum((turn.categories for turn in counted), Counter())
    contexts: Counter[str] = sum((turn.contexts for turn in counted), Counter())
    of_requests = categories.total() - sum(categories[one] for one in NOT_OF_REQUESTS)
    wall_ns = sum(turn.ended_ns - turn.started_ns for turn in counted)

    def estimate(what: str, count: Callable[[Turn], int]) -> Estimate:
        return _us_per_request(counted, setting, count, f"{name} {what}")

    return ImplementationProfile(
        impl=name,
        turns=len(counted),
        requests=sum(turn.requests for turn in counted),
        offered=round(sum(turn.offered for turn in counted)),
        errors=sum(turn.errors for turn in turns),
        samples=categories.total(),
        expected_samples=round(wall_ns / _NS_PER_S * setting.cpus * setting.frequency_hz),
        us_per_request=estimate("all", lambda turn: _of_requests(turn.categories)),
        process_us_per_request=stats.mean(
            {turn.round: turn.server_cpu_ns / turn.requests / _NS_PER_US for turn in counted},
            stats.draws(setting.seed, f"{name} processes"),
            {turn.round: turn.block for turn in counted},
        ),
        within_others_share=sum(one.within_others.total() for one in counted) / of_requests if of_requests else None,
        unsorted_share=(categories[UNKNOWN] + categories[OTHER_KERNEL]) / of_requests if of_requests else None,
        categories=_parts(
            [one for one in CATEGORIES if categories[one]],
            categories,
            lambda what: estimate(f"category {what}", lambda turn: turn.categories[what]),
        ),
        contexts=_parts(
            sorted(contexts, key=lambda what: (-contexts[what], what)),
            contexts,
            lambda what: estimate(f"context {what}", lambda turn: turn.contexts[what]),
        ),
        failure=failure,
    )


def _of_requests(categories: Mapping[str, int]) -> int:
    return sum(count for name, count in categories.items() if name not in NOT_OF_REQUESTS)


def _parts(names: Collection[str], counts: Counter[str], estimate: Callable[[str], Estimate]) -> tuple[Part, ...]:
    total = counts.total()
    return tuple(
        Part(name=name, us_per_request=estimate(name), share=counts[name] / total, samples=counts[name])
        for name in names
    )


def _us_per_request(turns: Sequence[Turn], setting: Setting, count: Callable[[Turn], int], key: str) -> Estimate:
    """Estimate CPU time per request: the share of a turn's samples, times its time, over its replies.

    Not samples times their interval: the share is right, too, where some of all kinds were lost.
    """
    by_round = {
        turn.round: count(turn)
        / turn.samples
        * setting.cpus
        * (turn.ended_ns - turn.started_ns)
        / turn.requests
        / _NS_PER_US
        for turn in turns
    }
    blocks = {turn.round: turn.block for turn in turns}
    return stats.mean(by_round, stats.draws(setting.seed, key), blocks)
