"""What came of very many connections, for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.growth import STEP_BYTES, Growth
from harness.report import figures
from harness.report.figures import NONE, WIDTH

LEGEND = (
    "Memory is what a worker has allocated (anonymous memory), between slices of load, when no connection was open; "
    "resident is all that it has in memory, programs and libraries too. The slope is the median of those between any "
    "two samples after the first tenth of the connections (Theil and Sen), with its 95 % interval. It counts as growth "
    f"when the interval lies above 0 and it comes to more than {STEP_BYTES // 1024} KiB, an allocator's step, in all; "
    "a descriptor more in the end than there were at some time after the first tenth always does."
)
_MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What came of one server."""

    name: str
    workload: str
    wanted: int
    """Connections that were to be made; ``done`` were, with ``errors`` beside them."""
    done: int
    errors: int
    lasted_s: float
    workers: Sequence[Growth]
    failure: str = ""
    """What ended it early, where it was the server, the generator or the machine."""
    interrupted: bool = False

    @property
    def stood(self) -> bool:
        """Whether all was done, without an error, and nothing grew."""
        whole = self.done >= self.wanted and not (self.errors or self.failure or self.interrupted)
        return whole and bool(self.workers) and all(one.told and not one.grows for one in self.workers)


def render(soaked: Soaked) -> str:
    """Return a table with a line for each tenth, and a sentence for each worker."""
    parts = [_title(soaked)]
    for number, worker in enumerate(soaked.workers):
        parts += [_table(worker), figures.wrap(_sentence(soaked, number, worker), WIDTH, "  ", "    ")]
    if soaked.failure:
        parts.append(figures.wrap(f"FAILED: {figures.printable(soaked.failure)}", WIDTH, "  ", "    "))
    return "\n\n".join([*parts, ""])


def _title(soaked: Soaked) -> str:
    rate = f"{soaked.done / soaked.lasted_s:,.0f}" if soaked.lasted_s else NONE
    what = "request" if soaked.workload == "keepalive" else "connection"
    return (
        f"{soaked.workload.upper()} on {figures.printable(soaked.name)}: {figures.plural(soaked.done, what)} in "
        f"{soaked.lasted_s:.0f} s ({rate} a second), {figures.plural(soaked.errors, 'error')}"
    )


def _table(worker: Growth) -> str:
    rows = [
        [
            f"{sample.connections:,}",
            f"{sample.allocated_bytes / _MB:.3f}",
            f"{sample.rss_bytes / _MB:.3f}",
            sample.descriptors,
        ]
        for sample in worker.tenths
    ]
    return figures.table(rows, ["connections", "memory MB", "resident MB", "descriptors"], ["right"] * 4)


def _sentence(soaked: Soaked, number: int, worker: Growth) -> str:
    begin = f"worker {number}: "
    if soaked.done < soaked.wanted:
        begin += f"BROKEN OFF after {soaked.done:,} of {soaked.wanted:,}; "
    slope = worker.slope
    if slope.value is None or slope.low is None or slope.high is None:
        leaks = f"GROWS: {worker.descriptors:+,} descriptors after the first tenth; of memory " if worker.grows else ""
        return f"{begin}{leaks}too few samples to tell."
    grown = "GROWS" if worker.grows else "does not grow"
    return (
        f"{begin}{grown}: {slope.value:+.1f} bytes per thousand connections ({slope.low:+.1f} to {slope.high:+.1f}), "
        f"{worker.grown_bytes / _MB:+.3f} MB in all, {worker.descriptors:+,} descriptors after the first tenth."
    )
