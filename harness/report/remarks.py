"""What is to be said of a comparison beside its figures: how to read them, and what they lack."""

from collections.abc import Sequence

from harness.report import figures
from harness.schema import Summary

_LEGEND = (
    "Before a name stands its rank. Ranges are 95 % intervals. Ratios are to {reference}, taken within each round; a "
    "tie is where the interval holds 1. p50 to p99.9: so many per cent of the latencies are below that. "
    "CPU is {cpu}; a CPU ratio below 1 is cheaper."
)
_ALL_OF_THE_CPUS = "what the server's CPUs spent, user + system + softirq"
_OF_THE_PROCESSES = "the processes' own time, without packets that came while they slept"


def legend(summary: Summary) -> str:
    """Say how the tables are to be read."""
    return _LEGEND.format(reference=figures.printable(summary.reference), cpu=_cpu(summary))


def remarks(summary: Summary) -> list[str]:
    """Say what the figures lack, a paragraph each; nothing where they lack nothing."""
    found = []
    of_reference = [entry for entry in summary.cells if entry.impl == summary.reference]
    if all(entry.ratio.value is None for entry in of_reference):
        name = figures.printable(summary.reference)
        if any(entry.cpu_us_per_request.total is not None for entry in of_reference):
            found.append(
                f"There are no ratios of requests/s, because no rate can be told of the reference, {name}: see its "
                "evidence. CPU per request and its ratios stand."
            )
        else:
            found.append(f"There are no ratios, because the reference, {name}, has no figures.")
    if summary.interrupted:
        found.append("The run ended before its plan was done: these are the figures of what was measured until then.")
    if summary.precision is not None:
        found.append(_precision(summary.precision, summary.precision_missed))
    return found


def _cpu(summary: Summary) -> str:
    """Say of what the CPU times are: of a CPU that others use only what the processes had can be told."""
    known = [entry.cpu_us_per_request for entry in summary.cells if entry.cpu_us_per_request.total is not None]
    shared = [cpu.softirq is None for cpu in known]
    if not any(shared):
        return _ALL_OF_THE_CPUS
    if all(shared):
        return _OF_THE_PROCESSES
    return f"{_ALL_OF_THE_CPUS}, or, where there are two parts, {_OF_THE_PROCESSES}"


def _precision(asked_for: float, missed: Sequence[str]) -> str:
    share = f"± {figures.per_cent(asked_for)} %"
    if not missed:
        return f"Every interval of a ratio (of requests/s where there is none) is within {share}, as asked for."
    return f"The budget was spent, or the run ended, before every interval was within {share}: {', '.join(missed)}."
