"""What the self test found, a table for each part."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.report import figures
from harness.schema import Estimate

if TYPE_CHECKING:  # the report looks at what was found; it starts nothing
    from harness.selftest.coverage import Coverage
    from harness.selftest.difference import Difference, TimeToTell
    from harness.selftest.limits import Limit


def ratios(found: Mapping[str, Estimate]) -> str:
    """Return the ratios of one run, in one line."""
    return ", ".join(f"{name} {_estimate(estimate)}" for name, estimate in found.items())


def coverage(covered: "Sequence[Coverage]") -> str:
    """Return how often the intervals of the same server twice held 1."""
    rows = [
        [
            one.figure,
            str(one.runs),
            f"{one.held} ({figures.per_cent(one.held / one.runs)} %)",
            str(one.fewest),
            f"± {figures.per_cent(one.mean_half_width)} %",
            "ok" if one.is_as_claimed else "MISSED",
        ]
        for one in covered
    ]
    headers = ["figure", "runs", "held 1.0", "fewest allowed", "interval, mean", ""]
    return _part("THE SAME SERVER TWICE: an interval of 95 % must hold 1.0 in about 95 of 100 runs", rows, headers)


def differences(found: "Sequence[Difference]", times: "Sequence[TimeToTell]") -> str:
    """Return what was found of planted differences, and how long the hardest took."""
    rows = [
        [
            f"{one.percent} % more CPU time",
            one.figure,
            f"{one.expected:.3f}",
            _estimate(one.found),
            "ok" if one.has_right_sign else "MISSED",
        ]
        for one in found
    ]
    table = _part("PLANTED DIFFERENCES", rows, ["planted", "figure", "ratio planted", "found", ""])
    hardest = min(one.percent for one in found)
    lines = [
        f"  {hardest} % apart, a pair: told by {one.figure} after {one.seconds:.0f} s, servers' starts included"
        if one.seconds is not None
        else f"  {hardest} % apart, a pair: NOT told by {one.figure}"
        for one in times
    ]
    return "\n".join([table, "", *lines])


def limits(found: "Sequence[Limit]") -> str:
    """Return the verdicts that planted limits got, with their evidence."""
    rows = [
        [one.cause, one.expected, one.found or figures.NONE, ("ok" if one.is_named else "MISSED") if one.found else ""]
        for one in found
    ]
    table = _part("PLANTED LIMITS", rows, ["planted", "expected", "verdict", ""])
    evidence = [figures.wrap(f"{one.cause}: {one.evidence}", figures.WIDTH, "  ", "    ") for one in found]
    return "\n".join([table, "", *evidence])


def outcome(*, missed: bool, not_tried: Sequence[str] = ()) -> str:
    """Return the last line."""
    found = "Something was missed: see above." if missed else "Nothing was missed."
    return f"\n{found}{' Not tried: ' + ', '.join(not_tried) + '.' if not_tried else ''}"


def _part(title: str, rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return f"\n{title}\n\n{figures.table(rows, headers)}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return figures.NONE
    return f"{estimate.value:.3f} ({figures.interval(estimate, 3)})"
