"""What limited a cell, with the figures that say so.

A verdict is the first of RULES that finds evidence; to add one is to add a rule. The order is from what forbids
a claim to what allows one: only ``server-bound`` says that the throughput is the server's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.series import Series
from harness.schema import NOT_STARTED, SERVER_ENDED, PlannedCell

BUSY_SHARE = 0.90
"""From here on a CPU counts as the limit."""
_MOST_CASES = 4
"""Broken obligations named in one line of evidence; the plan has all."""
MOST_ERRORS_SHARE = 0.01
"""More errors than this share of the requests, or a server that ends, and the cell has failed."""

NOT_CONFORMANT = "not-conformant"
FAILED = "failed"
NO_DATA = "no-data"
SHARED_CPUS = "shared-cpus"
CLIENT_BOUND = "client-bound"
SERVER_BOUND = "server-bound"
UNSATURATED = "unsaturated"

WITHOUT_CLAIM = frozenset({NOT_CONFORMANT, FAILED, NO_DATA})
"""Nothing with these is ranked by anything."""
_WHY_NOT_BY_THROUGHPUT = {
    SHARED_CPUS: "server and client share CPUs",
    CLIENT_BOUND: "the generator was the limit",
    UNSATURATED: "no side's CPU was busy enough to be the limit",
}


class Verdict(NamedTuple):
    """A verdict's name and one line of evidence."""

    name: str
    evidence: str


@dataclass(frozen=True)
class Load:
    """How busy each side was while one implementation had its slices in one cell."""

    cell: PlannedCell
    series: Series

    @property
    def server_busy(self) -> float:
        """The share of the time that a server's worker ran, on average."""
        return self._share(self.series.server_cpu_ns, self.cell.workers)

    @property
    def generator_busy(self) -> float:
        """The share of the time that the busiest generator ran."""
        return self._share(max(self.series.generator_cpu_ns, default=0), 1)

    @property
    def backend_busy(self) -> float:
        """The share of the time that a CPU of the backend ran it, on average; 0 without a backend."""
        return self._share(self.series.backend_cpu_ns, len(self.cell.backend_cpus))

    @property
    def backend_shares(self) -> bool:
        """Whether generators and backend run on a CPU together."""
        return not frozenset(self.cell.backend_cpus).isdisjoint(self.cell.generator_cpus)

    @property
    def client_busy(self) -> float:
        """The share of the time that the client side's busiest CPU ran, the backend included where it shares one."""
        if not self.backend_shares:
            return self.generator_busy
        cpus = frozenset(self.cell.generator_cpus + self.cell.backend_cpus)
        together = sum(self.series.generator_cpu_ns) + self.series.backend_cpu_ns
        return max(self.generator_busy, self._share(together, len(cpus)))

    def describe(self) -> str:
        """Return how busy each side was, in one line."""
        sides = [f"server {self.server_busy:.0%} busy"]
        if self.backend_shares:
            sides.append(f"generator and backend together {self.client_busy:.0%}")
        else:
            sides.append(f"generator {self.client_busy:.0%}")
            if self.cell.backend_cpus:
                sides.append(f"backend {self.backend_busy:.0%}")
        return ", ".join(sides).replace("%", " %")

    def _share(self, cpu_ns: int, cpus: int) -> float:
        return cpu_ns / (self.series.wall_ns * cpus) if self.series.wall_ns and cpus else 0.0


def _failed(load: Load) -> str | None:
    errors, requests = load.series.errors, load.series.requests
    if not {SERVER_ENDED, NOT_STARTED} & errors.keys() and sum(errors.values()) <= MOST_ERRORS_SHARE * requests:
        return None
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in errors.items())
    total = sum(errors.values())
    return f"{requests:,} correct replies and {total:,} {'error' if total == 1 else 'errors'}: {kinds}"


def _no_data(load: Load) -> str | None:
    return load.series.lack or None


def _shared_cpus(load: Load) -> str | None:
    shared = sorted(load.cell.shared_cpus)
    if not shared:
        return None
    return f"server and client share CPU {' '.join(map(str, shared))}; {load.describe()}"


def _client_bound(load: Load) -> str | None:
    return load.describe() if load.client_busy >= BUSY_SHARE else None


def _server_bound(load: Load) -> str | None:
    return load.describe() if load.server_busy >= BUSY_SHARE else None


Rule = Callable[[Load], str | None]
RULES: tuple[tuple[str, Rule], ...] = (
    (FAILED, _failed),
    (NO_DATA, _no_data),
    (SHARED_CPUS, _shared_cpus),
    (CLIENT_BOUND, _client_bound),
    (SERVER_BOUND, _server_bound),
    (UNSATURATED, Load.describe),
)
"""Each returns its evidence, or None when it does not hold. The last one always holds."""


def judge(load: Load) -> Verdict:
    """Return the first verdict that has evidence."""
    return next(Verdict(name, evidence) for name, rule in RULES if (evidence := rule(load)) is not None)


def not_conformant(failed_cases: Sequence[str]) -> Verdict:
    """Return the verdict on an implementation that was not measured because it broke the contract."""
    if not failed_cases:
        return Verdict(NOT_CONFORMANT, "not measured: conformance was not checked")
    more = f" and {len(failed_cases) - _MOST_CASES} more" if len(failed_cases) > _MOST_CASES else ""
    return Verdict(NOT_CONFORMANT, f"not measured: it broke {', '.join(failed_cases[:_MOST_CASES])}{more}")


def why_not_by_throughput(verdicts: Mapping[str, str]) -> str:
    """Say why implementations with these verdicts cannot be ranked by throughput; empty when they can."""
    reasons: dict[str, list[str]] = {}
    for impl, verdict in verdicts.items():
        if verdict != SERVER_BOUND:
            reasons.setdefault(_WHY_NOT_BY_THROUGHPUT[verdict], []).append(impl)
    if len(reasons) == 1 and [*reasons.values()] == [list(verdicts)]:
        return next(iter(reasons))
    return " and ".join(f"{reason} for {', '.join(impls)}" for reason, impls in reasons.items())
