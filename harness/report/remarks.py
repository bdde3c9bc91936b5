"""What is to be said of a comparison beside its figures: how to read them, and what they lack."""

from collections.abc import Sequence

from harness.report import figures
from harness.schema import Summary

_LEGEND = (
    "Before a name stands its rank. Ranges are 95 % intervals. Ratios are to {reference}, taken within each round; a "
    "tie is where the interval holds 1. p50 to p99.9: so many per cent of the latencies are below that. "
    "CPU is what the server's CPUs spent, user + system + softirq; a CPU ratio below 1 is cheaper."
)


def legend(summary: Summary) -> str:
    """Say how the tables are to be read."""
    return _LEGEND.format(reference=figures.printable(summary.reference))


def remarks(summary: Summary) -> list[str]:
    """Say what the figures lack, a paragraph each; nothing where they lack nothing."""
    found = []
    if all(entry.ratio.value is None for entry in summary.cells if entry.impl == summary.reference):
        found.append(
            f"There are no ratios, because the reference, {figures.printable(summary.reference)}, has no figures."
        )
    if summary.interrupted:
        found.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    if summary.precision is not None:
        found.append(_precision(summary.precision, summary.precision_missed))
    return found


def _precision(asked_for: float, missed: Sequence[str]) -> str:
    share = f"± {figures.per_cent(asked_for)} %"
    if not missed:
        return f"Every interval of a ratio (of requests/s where there is none) is within {share}, as asked for."
    return f"The budget was spent, or the run ended, before every interval was within {share}: {', '.join(missed)}."
