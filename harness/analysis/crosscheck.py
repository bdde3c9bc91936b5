"""What the turns of several load generators on one server say of the built-in one.

Where the server is the limit, all that load it must come to the same rate. Where the client is, the ratio tells which
client is faster, and nothing of the server.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.analysis import stats
from harness.analysis.verdicts import BUSY_SHARE
from harness.schema import Client, Estimate

BUILTIN: Client = "builtin"

Finding = Literal["agree", "client-bound", "server-bound", "unsaturated", "no-figures"]
"""Whether the rates agree; if not, what was the limit, which says what the difference is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of one client."""

    rate_rps: float
    """0 where it could not be told."""
    requests: int
    """Correct replies."""
    errors: Mapping[str, int] = field(default_factory=dict)
    wall_ns: int
    client_cpu_ns: Sequence[int]
    """One figure for each of its processes."""
    server_cpu_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFigures:
    """What all turns of one client came to."""

    client: Client
    rate_rps: float
    """Mean over the turns."""
    rate_per_cpu_s: float
    """Correct replies for each second of the client's CPU time."""
    client_busy: float
    """The share of the time that its busiest process ran."""
    server_busy: float
    """The share of the time that the server ran, for each worker."""
    server_us_per_request: float
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The built-in generator beside one witness. Ratios are of the built-in one to the witness, within each round."""

    witness: Client
    rate: Estimate
    rate_per_cpu: Estimate
    server_cpu_per_request: Estimate
    finding: Finding


@dataclass(frozen=True, slots=True)
class Crosscheck:
    """One workload on one implementation."""

    figures: Sequence[ClientFigures]
    """The built-in generator's first."""
    comparisons: Sequence[Comparison]


Turns = Mapping[int, Turn]
"""Those of one client, by round."""


def sum_up(turns: Mapping[Client, Turns], workers: int, seed: int, name: str) -> Crosscheck:
    """Compare the built-in generator with every other client; ``name`` and ``seed`` fix the bootstrap's draws."""
    figures = {client: _figures(client, list(own.values()), workers) for client, own in turns.items()}
    witnesses = [client for client in turns if client != BUILTIN]
    comparisons = []
    for witness in witnesses:
        ratios = [
            stats.ratio(_by_round(turns[BUILTIN], figure), _by_round(turns[witness], figure), stats.draws(seed, *key))
            for figure, key in (
                (_rate, (name, witness, "rate")),
                (_rate_per_cpu_s, (name, witness, "rate per CPU")),
                (_server_us, (name, witness, "server CPU")),
            )
        ]
        comparisons.append(
            Comparison(
                witness=witness,
                rate=ratios[0],
                rate_per_cpu=ratios[1],
                server_cpu_per_request=ratios[2],
                finding=_finding(ratios[0], figures[BUILTIN], figures[witness]),
            )
        )
    return Crosscheck([figures[client] for client in (BUILTIN, *witnesses)], comparisons)


def _finding(rate: Estimate, builtin: ClientFigures, witness: ClientFigures) -> Finding:
    if rate.value is None:
        return "no-figures"
    if rate.holds(1.0):
        return "agree"
    if max(builtin.client_busy, witness.client_busy) >= BUSY_SHARE:
        return "client-bound"
    if min(builtin.server_busy, witness.server_busy) >= BUSY_SHARE:
        return "server-bound"
    return "unsaturated"


def _figures(client: Client, turns: Sequence[Turn], workers: int) -> ClientFigures:
    wall_ns = sum(turn.wall_ns for turn in turns)
    requests = sum(turn.requests for turn in turns)
    by_process = [sum(process) for process in zip(*(turn.client_cpu_ns for turn in turns), strict=True)]
    server_ns = sum(turn.server_cpu_ns for turn in turns)
    errors = Counter[str]()
    for turn in turns:
        errors.update(turn.errors)
    return ClientFigures(
        client=client,
        rate_rps=sum(turn.rate_rps for turn in turns) / len(turns),
        rate_per_cpu_s=_share(requests, sum(by_process) / 1e9),
        client_busy=_share(max(by_process), wall_ns),
        server_busy=_share(server_ns, wall_ns * workers),
        server_us_per_request=_share(server_ns / 1e3, requests),
        errors=errors,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _by_round(turns: Turns, figure: Callable[[Turn], float]) -> dict[int, float]:
    """Leave out rounds without a figure: a logarithm needs a positive one."""
    return {number: value for number, turn in turns.items() if (value := figure(turn)) > 0}


def _rate(turn: Turn) -> float:
    return turn.rate_rps


def _rate_per_cpu_s(turn: Turn) -> float:
    return _share(turn.requests, sum(turn.client_cpu_ns) / 1e9)


def _server_us(turn: Turn) -> float:
    return _share(turn.server_cpu_ns / 1e3, turn.requests)
