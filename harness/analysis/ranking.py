"""The order of the implementations in one cell, with ties where the intervals do not separate them."""

import math
from collections.abc import Mapping
from itertools import combinations

from harness.analysis import stats, verdicts
from harness.analysis.series import Series
from harness.analysis.stats import ByRound
from harness.schema import Cell, Estimate, Ranking, Standing


def rank(cell: Cell, series: Mapping[str, Series], verdict_of: Mapping[str, str], seed: int) -> Ranking:
    """Rank by throughput when the server was the limit for all of them, else by CPU per request.

    Implementations that nothing can be claimed of are left out.
    """
    claimed = {impl: verdict for impl, verdict in verdict_of.items() if verdict not in verdicts.WITHOUT_CLAIM}
    reason = verdicts.why_not_by_throughput(claimed)
    figures = {impl: series[impl].cpu_us if reason else series[impl].rates_rps for impl in claimed}
    known = {impl: by_round for impl, by_round in figures.items() if by_round}
    return Ranking(
        workload=cell.workload,
        workers=cell.workers,
        concurrency=cell.concurrency,
        by="cpu" if reason else "throughput",
        reason=reason,
        standings=_standings(cell, known, seed, better_is_less=bool(reason)),
    )


def _standings(cell: Cell, figures: Mapping[str, ByRound], seed: int, *, better_is_less: bool) -> tuple[Standing, ...]:
    """Rank from the rounds in which all have a figure: only then do three pairs never contradict each other."""
    shared = frozenset.intersection(*(frozenset(by_round) for by_round in figures.values())) if figures else frozenset()
    if len(shared) < stats.FEWEST_ROUNDS:
        return ()
    common = {impl: {n: by_round[n] for n in shared} for impl, by_round in figures.items()}
    sign = 1 if better_is_less else -1
    order = sorted(common, key=lambda impl: sign * math.fsum(math.log(figure) for figure in common[impl].values()))
    better = dict.fromkeys(order, 0)
    to_first = {order[0]: Estimate(1.0, 1.0, 1.0)}
    for ahead, behind in combinations(order, 2):
        found = stats.ratio(common[behind], common[ahead], stats.draws(seed, cell.key, "rank", ahead, behind))
        if not found.holds(1.0):
            better[behind] += 1
        if ahead == order[0]:
            to_first[behind] = found
    standings = [Standing(impl, 1 + better[impl], to_first[impl]) for impl in order]
    return tuple(sorted(standings, key=lambda standing: standing.rank))
