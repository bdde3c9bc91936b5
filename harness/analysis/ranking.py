"""The order of the implementations in one cell, with ties where the intervals do not separate them."""

import math
from collections.abc import Mapping
from itertools import combinations

from harness.analysis import stats, verdicts
from harness.analysis.series import Series
from harness.analysis.stats import ByRound
from harness.schema import Cell, Estimate, Ranking, Standing


def rank(
    cell: Cell, load: Mapping[str, Series], fixed_rate: Mapping[str, Series], verdict_of: Mapping[str, str], seed: int
) -> Ranking:
    """Rank by throughput when the server was the limit for all of them, else by CPU per request.

    That is taken at the same rate for all where it was measured, else under load, each at its own. Implementations
    that nothing can be claimed of are left out.
    """
    claimed = {impl: verdict for impl, verdict in verdict_of.items() if verdict not in verdicts.WITHOUT_CLAIM}
    reason = verdicts.why_not_by_throughput(claimed)
    at_one_rate = all(fixed_rate[impl].kept_its_rate for impl in claimed)
    series = fixed_rate if reason and at_one_rate else load
    figures = {impl: series[impl].cpu_us if reason else series[impl].rates_rps for impl in claimed}
    known = {impl: by_round for impl, by_round in figures.items() if by_round}
    offered = {series[impl].offered_rps for impl in known}
    return Ranking(
        workload=cell.workload,
        workers=cell.workers,
        concurrency=cell.concurrency,
        rate_rps=cell.rate_rps,
        idle=cell.idle,
        by="cpu" if reason else "throughput",
        fixed_rate_rps=offered.pop() if reason and at_one_rate and len(offered) == 1 else None,
        reason=reason,
        standings=_standings(
            cell, known, {impl: series[impl].blocks for impl in known}, seed, better_is_less=bool(reason)
        ),
    )


def _standings(
    cell: Cell,
    figures: Mapping[str, ByRound],
    blocks: Mapping[str, Mapping[int, int]],
    seed: int,
    *,
    better_is_less: bool,
) -> tuple[Standing, ...]:
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
        draws = stats.draws(seed, cell.key, "rank", ahead, behind)
        found = stats.ratio(common[behind], common[ahead], draws, blocks[behind])
        if not found.holds(1.0):
            better[behind] += 1
        if ahead == order[0]:
            to_first[behind] = found
    standings = [Standing(impl, 1 + better[impl], to_first[impl]) for impl in order]
    return tuple(sorted(standings, key=lambda standing: standing.rank))
