"""One sentence that sums up a run: which implementation is ahead at which job, by how much, and how sure that is."""

from collections.abc import Iterable, Sequence

from harness.analysis.stats import FEWEST_ROUNDS
from harness.analysis.verdicts import WITHOUT_CLAIM
from harness.report import figures
from harness.schema import Cell, Estimate, Ranking, Standing, Summary

_TOO_FEW_ROUNDS = f": fewer than {FEWEST_ROUNDS} rounds were measured"
_MANY_TIMES = 2.0
"""From here on "3.4 times" reads better than "240 % more"."""


def sentence(summary: Summary, width: int) -> str:
    """Return the sentence under a line that introduces it, each part on a line of its own."""
    wrapped = [figures.wrap(line, width, "  ", "    ") for line in parts(summary)]
    return "\n".join(["In one sentence (in brackets the 95 % interval):", *wrapped])


def parts(summary: Summary) -> list[str]:
    """Return the parts of the sentence, each with the sign that ends it: rankings, then what was not ranked."""
    rankings = summary.rankings
    several = len({ranking.workload for ranking in rankings}) < len(rankings)
    jobs = {ranking.cell: _job(ranking.cell, with_load=several) for ranking in rankings}
    found = [f"on {jobs[ranking.cell]} {_clause(ranking)}{_why_none(summary, ranking)}" for ranking in rankings]
    found += [
        _with_idle(summary, ranking.cell, jobs[ranking.cell])
        for ranking in rankings
        if ranking.cell.idle and ranking.standings
    ]
    found += _not_by_throughput(rankings, jobs)
    found += _left_out(summary, jobs)
    return [f"{part}{'.' if part is found[-1] else ';'}" for part in found]


def _job(cell: Cell, *, with_load: bool) -> str:
    return f"{cell.workload} ({figures.load(cell)})" if with_load else cell.workload


def _clause(ranking: Ranking) -> str:
    if not ranking.standings:
        return "nothing can be claimed"
    first, *others = ranking.standings
    if not others:
        return f"only {figures.printable(first.impl)} can be judged"
    return ahead(first.impl, others, by_cpu=ranking.by == "cpu")


def ahead(first: str, others: Sequence[Standing], *, by_cpu: bool) -> str:
    """Say by how much one is ahead of others, or ties with them; each of their ratios has its interval."""
    name = figures.printable(first)
    ties = [_tie(standing) for standing in others if standing.ratio_to_first.holds(1.0)]
    behind = [standing for standing in others if not standing.ratio_to_first.holds(1.0)]
    parts = [f"ties with {figures.listing(ties)}"] if ties else []
    if behind:
        parts.append(_by_cpu(behind) if by_cpu else _by_throughput(behind))
    return f"{name} {' and '.join(parts)}"


def _why_none(summary: Summary, ranking: Ranking) -> str:
    """Say why nothing can be claimed of anybody, where that is not told of each by itself."""
    ended = not ranking.standings and any(
        entry.cell == ranking.cell and entry.verdict not in WITHOUT_CLAIM and entry.rounds < FEWEST_ROUNDS
        for entry in summary.cells
    )
    return _TOO_FEW_ROUNDS if ended else ""


def _tie(standing: Standing) -> str:
    _, low, high = _figures(standing.ratio_to_first)
    return f"{figures.printable(standing.impl)} ({figures.per_cent(low - 1)} to {figures.per_cent(high - 1)} %)"


def _by_cpu(behind: Iterable[Standing]) -> str:
    parts: list[str] = []
    for standing in behind:
        less, low, high = (1 - 1 / ratio for ratio in _figures(standing.ratio_to_first))
        what = "less" if parts else "less CPU per request"
        parts.append(f"{_share(less, low, high)} {what} than {figures.printable(standing.impl)}")
    return f"needs {figures.listing(parts)}"


def _by_throughput(behind: Iterable[Standing]) -> str:
    parts: list[str] = []
    for standing in behind:
        value, high, low = (1 / ratio for ratio in _figures(standing.ratio_to_first))
        requests = "" if parts else " requests/s"
        if value >= _MANY_TIMES:
            amount = f"{value:.1f} times ({low:.1f} to {high:.1f}) as many{requests} as"
        else:
            amount = f"{_share(value - 1, low - 1, high - 1)} more{requests} than"
        parts.append(f"{amount} {figures.printable(standing.impl)}")
    return f"serves {figures.listing(parts)}"


def _with_idle(summary: Summary, cell: Cell, job: str) -> str:
    """Say what idle connections do to each implementation: to its throughput, where the server was the limit."""
    serves: dict[str, Estimate] = {}
    needs: dict[str, Estimate] = {}
    for entry in summary.cells:
        if entry.cell == cell and entry.with_idle.throughput_ratio.value is not None:
            serves[entry.impl] = entry.with_idle.throughput_ratio
        elif entry.cell == cell and entry.with_idle.cpu_ratio.value is not None:
            needs[entry.impl] = entry.with_idle.cpu_ratio
    clauses = [_of_itself("serves", "requests/s", serves)] if serves else []
    clauses += [_of_itself("needs", "CPU per request", needs)] if needs else []
    said = " and ".join(clauses) or f"nothing can be claimed{_why_no_ratio(summary)}"
    return f"on {job}, against itself without the {cell.idle:,} idle connections, {said}"


def _why_no_ratio(summary: Summary) -> str:
    """Say why there is none to a server without idle connections: a plan has rounds enough, unless it is cut short."""
    return _TOO_FEW_ROUNDS if summary.interrupted else ": without them no server can be judged"


def _of_itself(verb: str, what: str, ratios: dict[str, Estimate]) -> str:
    parts: list[str] = []
    for impl, ratio in ratios.items():
        value, low, high = (f"{figure * 100:.0f}" for figure in _figures(ratio))
        share, name = f"{value} % ({low} to {high} %)", figures.printable(impl)
        parts.append(f"{name} {share}" if parts else f"{name} {verb} {share} of the {what}")
    return figures.listing(parts)


def _figures(estimate: Estimate) -> tuple[float, float, float]:
    """Return value, low and high of an estimate that makes a claim, as all in a ranking do."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        raise ValueError("a standing without a ratio")
    return estimate.value, estimate.low, estimate.high


def _share(value: float, low: float, high: float) -> str:
    return f"{figures.per_cent(value)} % ({figures.per_cent(low)} to {figures.per_cent(high)} %)"


def _not_by_throughput(rankings: Sequence[Ranking], jobs: dict[Cell, str]) -> list[str]:
    """Say where throughput is not ranked and why, cells with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for ranking in rankings:
        if ranking.by == "cpu" and ranking.standings:
            by_reason.setdefault(ranking.reason, []).append(jobs[ranking.cell])
    return [
        f"throughput is not ranked on {figures.listing(where)} because {figures.printable(reason)}"
        for reason, where in by_reason.items()
    ]


def _left_out(summary: Summary, jobs: dict[Cell, str]) -> list[str]:
    """Name whom no ranking has, cells with the same verdict together."""
    ranked = {(ranking.cell, standing.impl) for ranking in summary.rankings for standing in ranking.standings}
    where: dict[tuple[str, str], list[str]] = {}
    for entry in summary.cells:
        if (entry.cell, entry.impl) not in ranked:
            where.setdefault((entry.impl, entry.verdict), []).append(jobs[entry.cell])
    return [
        f"{figures.printable(impl)} is not ranked on {figures.listing(cells)} ({verdict})"
        for (impl, verdict), cells in where.items()
    ]
