"""All slices of one implementation in one cell and phase, seen round by round."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from operator import attrgetter

from harness.analysis.stats import FEWEST_ROUNDS, ByRound
from harness.schema import (
    ClientPorts,
    CpuUse,
    CpuUsPerRequest,
    Phase,
    Plan,
    PlannedCell,
    SegmentsPerRequest,
    Slice,
    TcpCounts,
    WorkerBalance,
    WorkerLocality,
)

LARGEST_MISSING_SHARE = 0.1
"""Slices without a rate are the slow ones: leaving out more than this share would flatter the server."""
MOST_OTHERS_SHARE = 0.05
"""Up to this share of a server's CPUs' time other programs on them are no noise."""
MOST_OTHERS_OF_BUSY = 0.10
"""Up to this share of the time that the CPUs were busy, all of that is taken for the server's work."""

LEAST_OF_RATE = 0.95
"""Fewer replies than this share of what was offered: the rate was more than could be served.

What is due in a slice scatters with the root of its number; over a run that is less than a per cent or two."""

_NS_PER_US = 1000


@dataclass(frozen=True)
class Series:
    """What one implementation did in one cell and phase."""

    slices: Mapping[int, Slice]
    """By round, in order."""
    own_cpus: frozenset[int] = frozenset()
    """The server's CPUs; empty where a generator or the backend runs on one of them, too."""
    counts_whole_cpus: bool = False
    """Whether all that the server's CPUs did is taken for its work, packets that were handled while it slept included.

    Else its CPU time is that of its processes. What is compared must be counted alike: ``counted_alike`` decides.
    """

    @cached_property
    def rates_rps(self) -> ByRound:
        """Requests per second of each round that has a rate."""
        return {n: piece.window_rps for n, piece in self.slices.items() if piece.window_rps}

    @cached_property
    def cpu_us(self) -> ByRound:
        """Server CPU time per request of each round that has any."""
        return {
            n: self._cpu_ns(piece) / piece.requests / _NS_PER_US
            for n, piece in self.slices.items()
            if piece.server_cpu_ns and piece.requests
        }

    @cached_property
    def blocks(self) -> Mapping[int, int]:
        """The block of each round."""
        return {n: piece.block for n, piece in self.slices.items()}

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
    def failure(self) -> str:
        """What the last slice with too many errors tells of the server; empty where there is none."""
        told = [piece.failure for piece in self.slices.values() if piece.failure]
        return told[-1] if told else ""

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
        return _added_up(piece.generator_cpu_ns for piece in self.slices.values())

    @cached_property
    def worker_accepted(self) -> tuple[int, ...]:
        """Connections that each worker accepted; empty where no slice tells."""
        return _added_up(piece.worker_accepted for piece in self.slices.values())

    @cached_property
    def worker_local(self) -> tuple[WorkerLocality, ...]:
        """What each worker told of where its connections' packets arrive; empty where no slice tells."""
        by_field = {
            name: _added_up([getattr(worker, name) for worker in piece.worker_local] for piece in self.slices.values())
            for name in WorkerLocality.__struct_fields__
        }
        return tuple(
            WorkerLocality(**dict(zip(by_field, counts, strict=True)))
            for counts in zip(*by_field.values(), strict=True)
        )

    @cached_property
    def cpus(self) -> Mapping[int, CpuUse]:
        """What each CPU did in all slices together; empty where that was not observed."""
        rows: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        for piece in self.slices.values():
            for use in piece.cpus:
                rows[use.cpu].append(_times(use))
        sums = {cpu: map(sum, zip(*several, strict=True)) for cpu, several in rows.items()}
        exact = all(use.exact for piece in self.slices.values() for use in piece.cpus)
        return {cpu: CpuUse(cpu=cpu, exact=exact, **dict(zip(_TIMES, each, strict=True))) for cpu, each in sums.items()}

    @cached_property
    def tcp(self) -> TcpCounts | None:
        """How far the TCP counters of the server's host moved in all slices together; None where nobody looked."""
        seen = [piece.tcp for piece in self.slices.values() if piece.tcp is not None]
        if not seen:
            return None
        return TcpCounts(**{name: sum(getattr(one, name) for one in seen) for name in TcpCounts.__struct_fields__})

    @property
    def ports_at_worst(self) -> ClientPorts | None:
        """The most ports in TIME_WAIT and the fewest left at the end of a slice; None where nobody looked."""
        seen = [piece.ports for piece in self.slices.values() if piece.ports is not None]
        if not seen:
            return None
        return ClientPorts(time_wait=max(one.time_wait for one in seen), left=min(one.left for one in seen))

    @cached_property
    def others_share(self) -> float:
        """How much of the server's own CPUs' time other programs ran on them in user mode, at least.

        Their system time is not to be told from that of the server's packets. 0 where nothing is known.
        """
        uses = [self.cpus[cpu] for cpu in self.own_cpus if cpu in self.cpus]
        span_ns = sum(use.span_ns for use in uses)
        user_ns = sum(use.user_ns for use in uses) - sum(piece.server_user_ns for piece in self.slices.values())
        return max(0.0, user_ns / span_ns) if span_ns else 0.0

    @cached_property
    def steal_share(self) -> float:
        """How much of all CPUs' time the hypervisor gave to others."""
        span_ns = sum(use.span_ns for use in self.cpus.values())
        return sum(use.steal_ns for use in self.cpus.values()) / span_ns if span_ns else 0.0

    @property
    def offered_rps(self) -> int | None:
        """The rate that was offered in all slices; None in a closed loop."""
        rates_rps = {piece.rate_rps for piece in self.slices.values()}
        return rates_rps.pop() if len(rates_rps) == 1 else None

    @cached_property
    def kept_its_rate(self) -> bool:
        """Whether the offered rate was answered, in rounds enough for an interval."""
        offered = sum((piece.rate_rps or 0) * piece.slice_s for piece in self.slices.values())
        many = len(self.cpu_us) >= FEWEST_ROUNDS and self.offered_rps is not None
        return many and self.requests >= LEAST_OF_RATE * offered

    @property
    def lateness_us(self) -> float | None:
        """How late the generator began requests: the median over the slices of each one's 99th percentile."""
        late_ns = [piece.lateness_ns for piece in self.slices.values() if piece.rate_rps is not None]
        return statistics.median(late_ns) / _NS_PER_US if late_ns else None

    @property
    def missing(self) -> int:
        """How many slices have no rate."""
        return len(self.slices) - len(self.rates_rps)

    @property
    def lack(self) -> str:
        """Why no rate can be told, in words; empty when one can."""
        if self.missing > LARGEST_MISSING_SHARE * len(self.slices):
            return f"{self.missing} of {len(self.slices)} slices are too short to tell a rate; a longer --slice helps"
        if len(self.rates_rps) < FEWEST_ROUNDS:
            return f"{len(self.rates_rps)} round was measured; an interval takes at least {FEWEST_ROUNDS}"
        return ""

    @property
    def had_its_cpus_to_itself(self) -> bool:
        """Whether all that the server's CPUs did was its work, as far as can be told."""
        if not self.own_cpus or not self.own_cpus <= self.cpus.keys():
            return False
        uses = [self.cpus[cpu] for cpu in self.own_cpus]
        busy_ns, span_ns = sum(use.busy_ns for use in uses), sum(use.span_ns for use in uses)
        return all(use.exact for use in uses) and self.others_share * span_ns < MOST_OTHERS_OF_BUSY * busy_ns

    def _cpu_ns(self, piece: Slice) -> int:
        if not self.counts_whole_cpus:
            return piece.server_cpu_ns
        return max(piece.server_cpu_ns, sum(use.busy_ns for use in piece.cpus if use.cpu in self.own_cpus))

    def cpu_us_per_request(self) -> CpuUsPerRequest:
        """Return the total of all slices, split as the ticks are."""
        if not self.requests or not self.server_cpu_ns:
            return CpuUsPerRequest()
        total = sum(map(self._cpu_ns, self.slices.values())) / self.requests / _NS_PER_US
        if self.counts_whole_cpus:
            uses = [self.cpus[cpu] for cpu in self.own_cpus]
            parts = [sum(getattr(use, name) for use in uses) for name in ("user_ns", "system_ns", "softirq_ns")]
        else:
            parts = [sum(getattr(piece, name) for piece in self.slices.values()) for name in _OF_PROCESSES]
        ticks = sum(parts)
        if not ticks:
            return CpuUsPerRequest(total=total)
        user, system, *softirq = (total * part / ticks for part in parts)
        return CpuUsPerRequest(user=user, system=system, softirq=softirq[0] if softirq else None, total=total)

    def segments_per_request(self) -> SegmentsPerRequest:
        """Return the TCP segments of the server's host per reply; with the client on the same host they say nothing."""
        if self.tcp is None or not self.requests:
            return SegmentsPerRequest()
        return SegmentsPerRequest(in_=self.tcp.segments_in / self.requests, out=self.tcp.segments_out / self.requests)

    @property
    def rss_bytes(self) -> int:
        """The most resident memory that was seen."""
        return max((piece.rss_bytes for piece in self.slices.values()), default=0)

    @property
    def idle_rss_bytes(self) -> float | None:
        """How much the resident memory grew when the idle connections were opened, mean over the blocks.

        None where nobody looked.
        """
        seen = {piece.block: piece.idle_rss_bytes for piece in self.slices.values() if piece.idle_rss_bytes is not None}
        return statistics.fmean(seen.values()) if seen else None

    def worker_balance(self) -> WorkerBalance:
        """Return the smallest and the largest share of connections that a worker accepted."""
        accepted = self.worker_accepted
        if not sum(accepted):
            return WorkerBalance()
        return WorkerBalance(min(accepted) / sum(accepted), max(accepted) / sum(accepted))

    @property
    def sampled_accepts(self) -> int:
        """How many of the clients' connections were asked on which CPU their packets arrive."""
        return sum(worker.sampled_accepts for worker in self.worker_local)

    @property
    def local_accept_share(self) -> float | None:
        """Which share of these is local; None where none was asked."""
        local = sum(worker.local_accepts for worker in self.worker_local)
        return local / self.sampled_accepts if self.sampled_accepts else None

    @property
    def sampled_backends(self) -> int:
        """How many of the connections to backends were asked."""
        return sum(worker.sampled_backends for worker in self.worker_local)

    @property
    def local_backend_share(self) -> float | None:
        """Which share of these is local; None where none was asked."""
        local = sum(worker.local_backends for worker in self.worker_local)
        return local / self.sampled_backends if self.sampled_backends else None


NOTHING = Series({})
"""What an implementation did that had no slice."""
_TIMES = tuple(name for name in CpuUse.__struct_fields__ if name.endswith("_ns"))
_times: Callable[[CpuUse], tuple[int, ...]] = attrgetter(*_TIMES)
_OF_PROCESSES = ("server_user_ns", "server_system_ns")


def gather(plan: Plan, slices: Iterable[Slice]) -> dict[tuple[str, str, Phase], Series]:
    """Sort slices by cell key, implementation and phase; a round that was measured again counts as measured last."""
    own_cpus = {cell.key: _own_cpus(cell) for cell in plan.cells}
    found: defaultdict[tuple[str, str, Phase], dict[int, Slice]] = defaultdict(dict)
    for piece in slices:
        found[piece.cell, piece.impl, piece.phase][piece.round] = piece
    return {
        key: Series({n: rounds[n] for n in sorted(rounds)}, own_cpus.get(key[0], frozenset()))
        for key, rounds in found.items()
    }


def counted_alike(several: Iterable[Series]) -> list[Series]:
    """Count the CPU time of several series in the same way: whole CPUs only where each had its own to itself."""
    found = list(several)
    whole = all(series.had_its_cpus_to_itself for series in found if series.slices)
    return [replace(series, counts_whole_cpus=whole) for series in found]


def _added_up(lists: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Add up lists of different lengths, place by place."""
    return tuple(sum(each) for each in zip_longest(*lists, fillvalue=0))


def _own_cpus(cell: PlannedCell) -> frozenset[int]:
    own = frozenset(cell.server_cpus)
    return own if own.isdisjoint(cell.generator_cpus + cell.backend_cpus) else frozenset()
