"""What limited a cell, with the figures that say so.

A verdict is the first of RULES that finds evidence; to add one is to add a rule. The order is from what forbids
a claim to what allows one: only ``server-bound`` says that the throughput is the server's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.busy import Busy
from harness.analysis.series import MOST_OTHERS_SHARE, Series
from harness.schema import ENDED, NO_LOCAL_PORT, PlannedCell

BUSY_SHARE = 0.90
"""From here on a CPU counts as the limit."""
CLEARLY = 0.02
"""Where both sides' CPUs are that busy, the server's was the limit only when it was busier by this much."""
BACKEND_SHARE = 0.90
"""A proxy that lets through so much of what its backend does by itself is limited by the backend."""
MOST_DROPS_SHARE = 0.0001
"""More drops by listening sockets than this share of the requests, and the backlog was measured."""
MOST_PORTLESS_SHARE = 0.0001
"""More connections without a local port than this share of the requests, and the ports were measured."""
MOST_ERRORS_SHARE = 0.01
"""More errors than this share of the requests, or a server that ends, and the cell has failed."""
SILENT_SLICES = 2
"""When so many slices at the end have errors and no correct reply, the server has stopped answering."""
MOST_STEAL_SHARE = 0.05
_OF_THE_WAY = frozenset({NO_LOCAL_PORT, "connect", "reset", "timeout"})
"""Kinds of errors that may be due to something else than the server."""
_AT_FIXED_RATE = ", at the fixed rate"
_MOST_CASES = 4
"""Broken obligations named in one line of evidence; the plan has all."""

NOT_CONFORMANT = "not-conformant"
NOT_MEASURED = "not-measured"
FAILED = "failed"
PORT_BOUND = "port-bound"
BACKLOG_DROP = "backlog-drop"
BACKEND_BOUND = "backend-bound"
SHARED_CPUS = "shared-cpus"
CLIENT_BOUND = "client-bound"
NOISY = "noisy"
SERVER_BOUND = "server-bound"
UNSATURATED = "unsaturated"

WITHOUT_CLAIM = frozenset({NOT_CONFORMANT, NOT_MEASURED, FAILED})
"""Nothing with these is ranked by anything."""
_WHY_NOT_BY_THROUGHPUT = {
    PORT_BOUND: "the client's host ran out of ports",
    BACKLOG_DROP: "the backlog was the limit",
    BACKEND_BOUND: "the backend was the limit",
    SHARED_CPUS: "server, client and backend share CPUs",
    CLIENT_BOUND: "the client was the limit",
    NOISY: "the figures are too noisy",
    UNSATURATED: "no side's CPUs were all busy enough to be the limit",
}


class Verdict(NamedTuple):
    """A verdict's name and one line of evidence."""

    name: str
    evidence: str


@dataclass(frozen=True)
class Load:
    """What is known of one implementation under load in one cell."""

    cell: PlannedCell
    series: Series
    fixed_rate: Series
    """Its slices at a fixed rate; in an open loop the same as ``series``."""
    unsteady: str = ""
    """Why its figures are too noisy for a claim, in words."""

    @property
    def busy(self) -> Busy:
        """How busy each side's CPUs were."""
        return Busy(self.cell, self.series)

    @property
    def rate_rps(self) -> float:
        """Correct replies over the time of all slices."""
        return self.series.requests * 1e9 / self.series.wall_ns if self.series.wall_ns else 0.0


def _ended(load: Load) -> str | None:
    for series, where in ((load.series, ""), (load.fixed_rate, _AT_FIXED_RATE)):
        if ENDED & series.errors.keys():
            return _errors(series) + where
    return None


def _wrong(load: Load) -> str | None:
    """Tell of errors that no lack of ports, of a place in the backlog, or of time explains."""
    errors = sum(count for kind, count in load.series.errors.items() if kind not in _OF_THE_WAY)
    return _errors(load.series) if errors > MOST_ERRORS_SHARE * load.series.requests else None


def _failed(load: Load) -> str | None:
    for series, where in ((load.series, ""), (load.fixed_rate, _AT_FIXED_RATE)):
        if sum(series.errors.values()) > MOST_ERRORS_SHARE * series.requests or _fell_silent(series):
            return _errors(series) + where
    return None


def _fell_silent(series: Series) -> bool:
    """Tell whether it stopped answering; a fast server's replies before that can outnumber the errors by far."""
    last = list(series.slices.values())[-SILENT_SLICES:]
    return len(last) == SILENT_SLICES and all(piece.errors and not piece.requests for piece in last)


def _errors(series: Series) -> str:
    errors, requests = series.errors, series.requests
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in errors.items())
    total = sum(errors.values())
    text = f"{requests:,} correct replies and {total:,} {'error' if total == 1 else 'errors'}: {kinds}"
    return f"{text}; {series.failure}" if series.failure else text


def _not_measured(load: Load) -> str | None:
    return None if load.series.slices else "no slice was measured"


def _port_bound(load: Load) -> str | None:
    portless = load.series.errors.get(NO_LOCAL_PORT, 0)
    if portless <= MOST_PORTLESS_SHARE * load.series.requests:
        return None
    worst = load.series.ports_at_worst
    ports = f"; at worst {worst.left:,} ports left, {worst.time_wait:,} in TIME_WAIT" if worst else ""
    return f"{portless:,} connections found no local port, beside {load.series.requests:,} replies{ports}"


def _backlog_drop(load: Load) -> str | None:
    counts, requests = load.series.tcp, load.series.requests
    if counts is None or not requests or _fell_silent(load.series):
        return None  # the queue of a server that answers nobody fills up for that
    if counts.listen_drops <= MOST_DROPS_SHARE * requests:
        return None
    return (
        f"listening sockets dropped {counts.listen_drops:,} connections, {counts.listen_overflows:,} of them because "
        f"the accept queue was full, beside {requests:,} replies"
    )


def _backend_bound(load: Load) -> str | None:
    busy = load.busy
    if not load.cell.backend_cpus or busy.backend_shares_with_server:
        return None
    own_rps = [piece.backend_rps for piece in load.series.slices.values() if piece.backend_rps]
    mean_rps = sum(own_rps) / len(own_rps) if own_rps else 0.0
    if mean_rps and load.rate_rps >= BACKEND_SHARE * mean_rps and busy.server < BUSY_SHARE:
        return f"{load.rate_rps:,.0f} requests/s, and the backend by itself does {mean_rps:,.0f}; {busy.describe()}"
    is_limit = busy.backend >= max(BUSY_SHARE, busy.server - CLEARLY) and busy.backend_outweighs_client
    return busy.describe() if is_limit else None


def _shared_cpus(load: Load) -> str | None:
    shared = sorted(load.cell.shared_cpus)
    if not shared:
        return None
    sides = [name for name, cpus in load.busy.sides.items() if not load.cell.shared_cpus.isdisjoint(cpus)]
    return f"{' and '.join(sides)} share CPU {' '.join(map(str, shared))}; {load.busy.describe()}"


def _client_bound(load: Load) -> str | None:
    busy = load.busy
    return busy.describe() if busy.client >= max(BUSY_SHARE, busy.server - CLEARLY) else None


def _noisy(load: Load) -> str | None:
    series = load.series
    if series.lack:
        return series.lack
    if series.others_share >= MOST_OTHERS_SHARE:
        share = f"{series.others_share:.0%}".replace("%", " %")
        return f"other programs took {share} of the server's CPU time, at least; {load.busy.describe()}"
    if series.steal_share >= MOST_STEAL_SHARE:
        share = f"{series.steal_share:.0%}".replace("%", " %")
        return f"the hypervisor gave {share} of the CPUs' time to others; {load.busy.describe()}"
    return load.unsteady or None


def _server_bound(load: Load) -> str | None:
    return load.busy.describe() if load.busy.server >= BUSY_SHARE else None


Rule = Callable[[Load], str | None]
RULES: tuple[tuple[str, Rule], ...] = (
    (NOT_MEASURED, _not_measured),
    (FAILED, _ended),
    (FAILED, _wrong),
    (PORT_BOUND, _port_bound),
    (BACKLOG_DROP, _backlog_drop),
    (FAILED, _failed),
    (BACKEND_BOUND, _backend_bound),
    (SHARED_CPUS, _shared_cpus),
    (CLIENT_BOUND, _client_bound),
    (NOISY, _noisy),
    (SERVER_BOUND, _server_bound),
    (UNSATURATED, lambda load: load.busy.describe()),
)
"""Each returns its evidence, or None when it does not hold. The last one always holds."""


def judge(load: Load) -> Verdict:
    """Return the first verdict that has evidence."""
    return next(Verdict(name, evidence) for name, rule in RULES if (evidence := rule(load)) is not None)


def not_conformant(failed_cases: Sequence[str]) -> Verdict:
    """Return the verdict on an implementation that was not measured because it broke the contract."""
    more = f" and {len(failed_cases) - _MOST_CASES} more" if len(failed_cases) > _MOST_CASES else ""
    return Verdict(NOT_CONFORMANT, f"not measured: it broke {', '.join(failed_cases[:_MOST_CASES])}{more}")


def not_checked() -> Verdict:
    """Return the verdict on an implementation whose conformance was not known when the run ended."""
    return Verdict(NOT_MEASURED, "the run ended before conformance was checked")


def why_not_by_throughput(verdicts: Mapping[str, str]) -> str:
    """Say why implementations with these verdicts cannot be ranked by throughput; empty when they can."""
    reasons: dict[str, list[str]] = {}
    for impl, verdict in verdicts.items():
        if verdict != SERVER_BOUND:
            reasons.setdefault(_WHY_NOT_BY_THROUGHPUT[verdict], []).append(impl)
    if len(reasons) == 1 and [*reasons.values()] == [list(verdicts)]:
        return next(iter(reasons))
    return " and ".join(f"{reason} for {', '.join(impls)}" for reason, impls in reasons.items())
