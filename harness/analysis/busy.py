"""How busy the CPUs of server, client and backend were while one implementation had its slices."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.series import Series
from harness.schema import PlannedCell


@dataclass(frozen=True)
class Busy:
    """Shares of the time, from 0 to 1.

    Where CPUs were watched it is all that ran on them, packets that were handled while the processes slept included;
    in runs of schema 1, which know no more, it is the processes' own time.
    """

    cell: PlannedCell
    series: Series

    @property
    def sides(self) -> dict[str, Sequence[int]]:
        """The CPUs of each side that there is; that of the generators is the client."""
        return {"client" if role == "generator" else role: cpus for role, cpus in self.cell.roles.items()}

    @property
    def server(self) -> float:
        """The mean over the server's CPUs: all workers at their limit."""
        return _mean(self._shares(self.cell.server_cpus, self.series.server_cpu_ns))

    @property
    def client(self) -> float:
        """The busiest of the client's CPUs: its generator has a part of the connections for itself."""
        generators = self.series.generator_cpu_ns
        if not self.series.cpus:
            return self._of_wall(max(generators, default=0))
        return max(self._shares(self.cell.generator_cpus, sum(generators)), default=0.0)

    @property
    def backend(self) -> float:
        """The mean over the backend's CPUs; 0 without a backend."""
        return _mean(self._shares(self.cell.backend_cpus, self.series.backend_cpu_ns))

    @property
    def backend_shares_with_server(self) -> bool:
        """Whether both run on a CPU."""
        return not frozenset(self.cell.backend_cpus).isdisjoint(self.cell.server_cpus)

    @property
    def backend_outweighs_client(self) -> bool:
        """Whether the backend has the most of its CPUs, where it shares them with the generators."""
        shares = not frozenset(self.cell.backend_cpus).isdisjoint(self.cell.generator_cpus)
        return not shares or self.series.backend_cpu_ns > sum(self.series.generator_cpu_ns)

    def describe(self) -> str:
        """Return how busy each side was, in one line."""
        processes_ns = {
            "server": self.series.server_cpu_ns,
            "client": sum(self.series.generator_cpu_ns),
            "backend": self.series.backend_cpu_ns,
        }
        parts: list[str] = []
        by_cpus: dict[tuple[int, ...], list[str]] = {}
        for name, cpus in self.sides.items():
            by_cpus.setdefault(tuple(cpus), []).append(name)
        for cpus, names in by_cpus.items():
            shares = self._shares(cpus, sum(processes_ns[name] for name in names))
            parts.append(f"{' and '.join(names)} {_cpus(cpus)} busy {_per_cent(shares)}")
        return ", ".join(parts)

    def _shares(self, cpus: Sequence[int], processes_ns: int) -> list[float]:
        watched = [self.series.cpus[cpu] for cpu in cpus if cpu in self.series.cpus]
        if len(watched) < len(cpus):
            return [self._of_wall(processes_ns) / len(cpus)] * len(cpus) if cpus else []
        return [use.busy_ns / use.span_ns if use.span_ns else 0.0 for use in watched]

    def _of_wall(self, cpu_ns: int) -> float:
        return cpu_ns / self.series.wall_ns if self.series.wall_ns else 0.0


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares) if shares else 0.0


def _cpus(cpus: Sequence[int]) -> str:
    if len(cpus) == 1:
        return f"CPU {cpus[0]}"
    if list(cpus) == list(range(cpus[0], cpus[-1] + 1)):
        return f"CPUs {cpus[0]}-{cpus[-1]}"
    return f"CPUs {','.join(map(str, cpus))}"


def _per_cent(shares: Sequence[float]) -> str:
    mean = f"{_mean(shares) * 100:.0f} %"
    if len(shares) == 1:
        return mean
    return f"{mean} ({min(shares) * 100:.0f} to {max(shares) * 100:.0f})"
