"""Who is ahead in a cell so far, in one line: the reference, or who is best of the others."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from harness.analysis.comparison import Glance
from harness.analysis.verdicts import WITHOUT_CLAIM, why_not_by_throughput
from harness.report import figures, sentence
from harness.schema import CellSummary, Estimate, Standing

By = Literal["throughput", "cpu", "cpu at fixed rate"]
WHAT: dict[By, str] = {
    "throughput": "requests/s",
    "cpu": "CPU per request",
    "cpu at fixed rate": "CPU per request at fixed rate",
}


class _Other(NamedTuple):
    name: str
    ratio: Estimate
    distance: float
    """By how much it is better than the reference; negative where it is worse."""


def counts(glances: Sequence[Glance]) -> By:
    """Tell by what a cell is ranked, as far as can be told now (``harness.analysis.ranking``)."""
    claimed = [one.summary for one in glances if one.summary.verdict not in WITHOUT_CLAIM]
    if not all(one.rounds for one in claimed):
        return "throughput"  # too early to tell
    if not why_not_by_throughput({one.impl: one.verdict for one in claimed}):
        return "throughput"
    return "cpu at fixed rate" if all(one.at_fixed_rate.cpu_ratio.value for one in claimed) else "cpu"


def ratio_of(summary: CellSummary, by: By) -> Estimate:
    """Return the ratio to the reference that a cell is ranked by."""
    if by == "throughput":
        return summary.ratio
    return summary.cpu_ratio if by == "cpu" else summary.at_fixed_rate.cpu_ratio


def so_far(glances: Sequence[Glance], reference: str) -> str:
    """Say who leads, by how much and how sure that is; empty before anything can be said."""
    by = counts(glances)
    others = [
        _Other(one.summary.impl, ratio, ratio.value - 1 if by == "throughput" else 1 - ratio.value)
        for one in glances
        if one.summary.impl != reference and (ratio := ratio_of(one.summary, by)).value is not None and ratio.low
    ]
    if not others:
        return _alone(glances)
    name, ratio, distance = max(others, key=lambda one: one.distance)
    first, standing = reference, Standing(name, 2, ratio)
    if distance > 0 and not ratio.holds(1.0):
        first, standing = name, Standing(reference, 2, _inverse(ratio))
    return sentence.ahead(first, [standing], by_cpu=by != "throughput")


def each(glances: Sequence[Glance], reference: str) -> str:
    """Name each ratio to the reference, and the verdicts; empty where there is none."""
    by = counts(glances)
    ratios = [
        f"{figures.printable(one.summary.impl)} {in_a_line(ratio_of(one.summary, by))}"
        for one in glances
        if one.summary.impl != reference and ratio_of(one.summary, by).low is not None
    ]
    return f"{WHAT[by]}: {', '.join(ratios)}; {verdicts(glances)}" if ratios else ""


def verdicts(glances: Sequence[Glance]) -> str:
    """Name the verdict that all have, or each with its own."""
    found = {one.summary.verdict for one in glances}
    if len(found) == 1:
        return found.pop()
    return ", ".join(f"{figures.printable(one.summary.impl)} {one.summary.verdict}" for one in glances)


def sides(glances: Sequence[Glance]) -> str:
    """Tell how busy the CPUs of the sides are, from whom it is least to whom it is most."""
    busy = [one.busy for one in glances if one.busy.server]
    shares = {
        "server": [one.server for one in busy],
        "client": [one.client for one in busy],
        "backend": [one.backend for one in busy if one.backend],
    }
    return f"CPU: {', '.join(f'{side} {_span(found)} %' for side, found in shares.items() if found)}"


def _span(shares: Sequence[float]) -> str:
    low, high = (f"{share * 100:.0f}" for share in (min(shares), max(shares)))
    return low if low == high else f"{low} to {high}"


def _inverse(ratio: Estimate) -> Estimate:
    value, low, high = (1 / figure if figure else None for figure in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high)


def in_a_line(ratio: Estimate) -> str:
    """Return ``0.756 (0.724 to 0.791)``."""
    decimals = figures.ratio_decimals(ratio)
    value, low, high = (figures.number(figure, decimals) for figure in (ratio.value, ratio.low, ratio.high))
    return f"{value} ({low} to {high})"


def _alone(glances: Sequence[Glance]) -> str:
    """Say what one does with which nothing is compared."""
    known = [one.summary for one in glances if one.summary.throughput_rps.value is not None]
    if len(known) != 1:
        return ""
    rate = known[0].throughput_rps
    value, low, high = (figures.number(figure, 0) for figure in (rate.value, rate.low, rate.high))
    return f"{figures.printable(known[0].impl)}: {value} ({low} to {high}) requests/s"
