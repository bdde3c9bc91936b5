"""What the slices of one implementation in one cell and phase add up to: the figures behind a verdict."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from harness.schema import CpuUse, Phase, Slice

_NS_PER_S = 1_000_000_000
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_FEWEST_FOR_TREND = 4


class CpuShares(NamedTuple):
    """What one CPU did, as shares of its time; they add up to 1."""

    cpu: int
    user: float
    system: float
    softirq: float
    idle: float
    steal: float


@dataclass(frozen=True)
class Evidence:
    """Figures that nobody observed are None, or empty."""

    slices: Sequence[Slice]
    """In the order of the rounds; each round once."""

    @cached_property
    def requests(self) -> int:
        """Correct replies in all."""
        return self._sum(lambda piece: piece.requests)

    @cached_property
    def wall_ns(self) -> int:
        """The time of all slices together."""
        return self._sum(lambda piece: piece.wall_ns)

    @cached_property
    def errors(self) -> dict[str, int]:
        """By kind, most frequent first."""
        total: Counter[str] = Counter()
        for piece in self.slices:
            total.update(piece.errors)
        return {kind: count for kind, count in total.most_common() if count}

    @cached_property
    def rates_rps(self) -> list[float]:
        """Requests per second of each round that has a rate, in their order."""
        return [
            piece.window_requests * _NS_PER_S / piece.window_ns
            for piece in self.slices
            if piece.window_requests and piece.window_ns
        ]

    @property
    def rate_quantiles_rps(self) -> tuple[float, ...]:
        """The least, a quarter, the median, three quarters and the most of the rounds' rates."""
        return tuple(map(float, np.quantile(self.rates_rps, _QUANTILES))) if self.rates_rps else ()

    @property
    def trend(self) -> float | None:
        """The mean rate of the second half of the rounds over that of the first, on the logarithm."""
        if len(self.rates_rps) < _FEWEST_FOR_TREND:
            return None
        logs, half = np.log(self.rates_rps), len(self.rates_rps) // 2
        return math.exp(float(logs[-half:].mean() - logs[:half].mean()))

    @cached_property
    def cpus(self) -> tuple[CpuShares, ...]:
        """What each CPU did in all slices together."""
        uses: dict[int, list[CpuUse]] = {}
        for piece in self.slices:
            for use in piece.cpus:
                uses.setdefault(use.cpu, []).append(use)
        return tuple(_shares(cpu, uses[cpu]) for cpu in sorted(uses))

    def busy(self, cpu_ns: int, cpus: int) -> float:
        """Return the share of the time of so many CPUs that ``cpu_ns`` is."""
        return cpu_ns / (self.wall_ns * cpus) if self.wall_ns and cpus else 0.0

    @property
    def server_cpu_ns(self) -> int:
        """CPU time of all server processes, from a source that counts nanoseconds."""
        return self._sum(lambda piece: piece.server_cpu_ns)

    @property
    def server_user_share(self) -> float | None:
        """The part of the server processes' time that they spent in user mode, from ticks."""
        user_ns = self._sum(lambda piece: piece.server_user_ns)
        system_ns = self._sum(lambda piece: piece.server_system_ns)
        return user_ns / (user_ns + system_ns) if user_ns + system_ns else None

    @property
    def backend_cpu_ns(self) -> int:
        """CPU time of all backend processes."""
        return self._sum(lambda piece: piece.backend_cpu_ns)

    @property
    def generator_cpu_ns(self) -> tuple[int, ...]:
        """CPU time of each generator."""
        return _added_up(piece.generator_cpu_ns for piece in self.slices)

    @property
    def worker_accepted(self) -> tuple[int, ...]:
        """Connections that each worker accepted."""
        return _added_up(piece.worker_accepted for piece in self.slices)

    @property
    def context_switches(self) -> tuple[int, int] | None:
        """Voluntary and involuntary ones of the server's processes."""
        seen = [piece.context_switches for piece in self.slices if piece.context_switches]
        return (sum(one.voluntary for one in seen), sum(one.involuntary for one in seen)) if seen else None

    def tcp(self, name: str) -> int | None:
        """Return how far one of TcpCounts' counters moved."""
        seen = [piece.tcp for piece in self.slices if piece.tcp]
        return sum(int(getattr(counts, name)) for counts in seen) if seen else None

    @property
    def most_time_wait(self) -> int | None:
        """The most sockets of the client's host in TIME_WAIT at the end of a slice."""
        return max((piece.ports.time_wait for piece in self.slices if piece.ports), default=None)

    @property
    def fewest_ports_left(self) -> int | None:
        """The fewest free ephemeral ports of the client's host at the end of a slice."""
        return min((piece.ports.left for piece in self.slices if piece.ports), default=None)

    @property
    def most_rss_bytes(self) -> int:
        """The most resident memory at the end of a slice; 0 where it was not observed."""
        return max((piece.rss_bytes for piece in self.slices), default=0)

    @property
    def backend_rps(self) -> tuple[int, ...]:
        """What the backend gave alone, in each block where that was measured."""
        by_block = {piece.block: piece.backend_rps for piece in self.slices if piece.backend_rps}
        return tuple(by_block.values())

    @property
    def blocks(self) -> int:
        """How often the servers were started afresh."""
        return len({piece.block for piece in self.slices})

    def _sum(self, figure: Callable[[Slice], int]) -> int:
        return sum(map(figure, self.slices))


def collect(slices: Iterable[Slice], cell: str, impl: str, phase: Phase) -> Evidence:
    """Take the slices of one implementation; a round that was measured again counts as measured last."""
    found = {piece.round: piece for piece in slices if (piece.cell, piece.impl, piece.phase) == (cell, impl, phase)}
    return Evidence([found[number] for number in sorted(found)])


def _shares(cpu: int, uses: Sequence[CpuUse]) -> CpuShares:
    sums = [sum(each) for each in zip(*map(_times_ns, uses), strict=True)]
    whole = sum(sums) or 1
    user, system, softirq, idle, steal = (time_ns / whole for time_ns in sums)
    return CpuShares(cpu, user, system, softirq, idle, steal)


def _times_ns(use: CpuUse) -> Iterator[int]:
    yield from (use.user_ns, use.system_ns, use.softirq_ns, use.idle_ns, use.steal_ns)


def _added_up(lists: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(each) for each in zip_longest(*lists, fillvalue=0))
