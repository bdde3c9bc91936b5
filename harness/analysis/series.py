"""All slices of one implementation in one cell, seen round by round."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from harness.analysis.stats import FEWEST_ROUNDS, ByRound
from harness.schema import CpuUsPerRequest, Slice

LARGEST_MISSING_SHARE = 0.1
"""Slices without a rate are the slow ones: leaving out more than this share would flatter the server."""

_NS_PER_S = 1_000_000_000
_NS_PER_US = 1000


@dataclass(frozen=True)
class Series:
    """What one implementation did in one cell."""

    slices: Mapping[int, Slice]
    """By round, in order."""

    @cached_property
    def rates_rps(self) -> ByRound:
        """Requests per second of each round that has a rate."""
        return {
            n: piece.window_requests * _NS_PER_S / piece.window_ns
            for n, piece in self.slices.items()
            if piece.window_requests and piece.window_ns
        }

    @cached_property
    def cpu_us(self) -> ByRound:
        """Server CPU time per request of each round that has any."""
        return {
            n: piece.server_cpu_ns / piece.requests / _NS_PER_US
            for n, piece in self.slices.items()
            if piece.server_cpu_ns and piece.requests
        }

    @cached_property
    def requests(self) -> int:
        """Correct replies in all."""
        return sum(piece.requests for piece in self.slices.values())

    @cached_property
    def errors(self) -> Mapping[str, int]:
        """Errors by kind, most frequent first; kinds that never happened are left out."""
        total: Counter[str] = Counter()
        for piece in self.slices.values():
            total.update(piece.errors)
        return {kind: count for kind, count in total.most_common() if count}

    @cached_property
    def wall_ns(self) -> int:
        """The time of all slices together."""
        return sum(piece.wall_ns for piece in self.slices.values())

    @cached_property
    def server_cpu_ns(self) -> int:
        """CPU time of all server processes."""
        return sum(piece.server_cpu_ns for piece in self.slices.values())

    @cached_property
    def backend_cpu_ns(self) -> int:
        """CPU time of all backend processes."""
        return sum(piece.backend_cpu_ns for piece in self.slices.values())

    @cached_property
    def generator_cpu_ns(self) -> tuple[int, ...]:
        """CPU time of each generator."""
        each = zip_longest(*(piece.generator_cpu_ns for piece in self.slices.values()), fillvalue=0)
        return tuple(sum(times) for times in each)

    @property
    def missing(self) -> int:
        """How many slices have no rate."""
        return len(self.slices) - len(self.rates_rps)

    @property
    def lack(self) -> str:
        """Why nothing can be claimed, in words; empty when something can."""
        if not self.slices:
            return "no slice was measured"
        if self.missing > LARGEST_MISSING_SHARE * len(self.slices):
            return f"{self.missing} of {len(self.slices)} slices are too short to tell a rate; a longer --slice helps"
        if len(self.rates_rps) < FEWEST_ROUNDS:
            return f"{len(self.rates_rps)} round was measured; an interval takes at least {FEWEST_ROUNDS}"
        return ""

    def cpu_us_per_request(self) -> CpuUsPerRequest:
        """Return the exact total of all slices, split as the ticks are."""
        if not self.requests or not self.server_cpu_ns:
            return CpuUsPerRequest()
        total = self.server_cpu_ns / self.requests / _NS_PER_US
        user_ns = sum(piece.server_user_ns for piece in self.slices.values())
        system_ns = sum(piece.server_system_ns for piece in self.slices.values())
        if not user_ns + system_ns:
            return CpuUsPerRequest(total=total)
        user = total * user_ns / (user_ns + system_ns)
        return CpuUsPerRequest(user=user, system=total - user, total=total)


def gather(slices: Iterable[Slice]) -> dict[tuple[str, str], Series]:
    """Sort slices by cell key and implementation; a round that was measured again counts as measured last."""
    found: defaultdict[tuple[str, str], dict[int, Slice]] = defaultdict(dict)
    for piece in slices:
        found[piece.cell, piece.impl][piece.round] = piece
    return {key: Series({n: rounds[n] for n in sorted(rounds)}) for key, rounds in found.items()}
