"""What the slices of one implementation tell in full: the figures behind a verdict, and those that none looks at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from harness.analysis.series import Series
from harness.schema import CpuUse, Slice

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

    series: Series

    @property
    def slices(self) -> Sequence[Slice]:
        """In the order of the rounds; each round once."""
        return list(self.series.slices.values())

    @cached_property
    def rates_rps(self) -> list[float]:
        """Requests per second of each round that has a rate, in their order."""
        return list(self.series.rates_rps.values())

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

    @property
    def cpus(self) -> tuple[CpuShares, ...]:
        """What each CPU did in all slices together."""
        return tuple(_shares(self.series.cpus[cpu]) for cpu in sorted(self.series.cpus))

    def busy(self, cpu_ns: int, cpus: int) -> float:
        """Return the share of the time of so many CPUs that ``cpu_ns`` is."""
        return cpu_ns / (self.series.wall_ns * cpus) if self.series.wall_ns and cpus else 0.0

    @property
    def server_user_share(self) -> float | None:
        """The part of the server processes' time that they spent in user mode, from ticks."""
        user_ns = sum(piece.server_user_ns for piece in self.slices)
        system_ns = sum(piece.server_system_ns for piece in self.slices)
        return user_ns / (user_ns + system_ns) if user_ns + system_ns else None

    @property
    def context_switches(self) -> tuple[int, int] | None:
        """Voluntary and involuntary ones of the server's processes."""
        seen = [piece.context_switches for piece in self.slices if piece.context_switches]
        return (sum(one.voluntary for one in seen), sum(one.involuntary for one in seen)) if seen else None

    @property
    def backend_rps(self) -> tuple[int, ...]:
        """What the backend gave alone, in each block where that was measured."""
        by_block = {piece.block: piece.backend_rps for piece in self.slices if piece.backend_rps}
        return tuple(by_block.values())

    @property
    def blocks(self) -> int:
        """How often the servers were started afresh."""
        return len({piece.block for piece in self.slices})


def _shares(use: CpuUse) -> CpuShares:
    times_ns = (use.user_ns, use.system_ns, use.softirq_ns, use.idle_ns, use.steal_ns)
    whole = sum(times_ns) or 1
    user, system, softirq, idle, steal = (time_ns / whole for time_ns in times_ns)
    return CpuShares(use.cpu, user, system, softirq, idle, steal)
