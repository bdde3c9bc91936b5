"""Latency histograms in HdrHistogram's log format 1.2: one tagged line for each interval, cell and implementation.

Lines of one tag are intervals: their sum is the whole. Values are nanoseconds; the column of interval
maxima is in milliseconds, as is usual. A tag is ``short/w1/c100/epoll_raw``: the format allows no comma in it. What
is no whole latency has its kind behind the name, as in ``short/w1/c100/r5000/epoll_raw@connect``.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from harness.analysis.latency import KINDS, WHOLE, Kind, LatencyHistogram

Key = tuple[str, str, Kind]
"""Cell key, implementation, and which time it is."""

_NS_PER_MS = 1_000_000
_FIELDS = 5
_TAG = re.compile(
    r"Tag=(?P<cell>[^/@]+/w\d+/c\d+(?:/idle\d+)?(?:/r\d+)?)/(?P<impl>[^/@]+)(?:@(?P<kind>connect|first-byte))?"
)


def header(started_s: float) -> str:
    """Return the first lines of a log; ``started_s`` is in seconds since the epoch."""
    started = datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds")
    return (
        "#[Latencies in nanoseconds; Tag=CELL/IMPLEMENTATION]\n"
        "#[Histogram log format version 1.2]\n"
        f"#[StartTime: {started_s:.3f} (seconds since epoch), {started}]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def lines(histograms: Mapping[Key, LatencyHistogram], started_s: float, ended_s: float) -> str:
    """Return a line for each histogram that is not empty; times are seconds since the log's start."""
    return "".join(
        f"Tag={_tag(*key)},{started_s:.3f},{ended_s - started_s:.3f},"
        f"{histogram.max_ns / _NS_PER_MS:.3f},{histogram.encode()}\n"
        for key, histogram in histograms.items()
        if histogram.total
    )


def parse(line: str) -> tuple[Key, LatencyHistogram] | None:
    """Return what a line tells of; None for a comment. Raises ValueError for anything else."""
    if line.startswith(("#", '"')):
        return None
    fields = line.split(",")
    found = _TAG.fullmatch(fields[0])
    if len(fields) != _FIELDS or not found:
        raise ValueError("not a line Tag=CELL/IMPLEMENTATION,start,length,maximum,histogram")
    kind = next(kind for kind in KINDS if kind == (found["kind"] or WHOLE))
    return (found["cell"], unquote(found["impl"]), kind), LatencyHistogram.decode(fields[-1])


def _tag(cell: str, impl: str, kind: Kind) -> str:
    return f"{cell}/{quote(impl, safe='+')}" + (f"@{kind}" if kind != WHOLE else "")
