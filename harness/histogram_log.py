"""Latency histograms in HdrHistogram's log format 1.2: one tagged line for each interval, cell and implementation.

Lines of one tag are intervals: their sum is the whole. Values are nanoseconds; the column of interval
maxima is in milliseconds, as is usual. A tag is ``short/w1/c100/epoll_raw``: the format allows no comma in it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from harness.analysis.latency import LatencyHistogram

_NS_PER_MS = 1_000_000
_FIELDS = 5


def header(started_s: float) -> str:
    """Return the first lines of a log; ``started_s`` is in seconds since the epoch."""
    started = datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds")
    return (
        "#[Latencies in nanoseconds; Tag=CELL/IMPLEMENTATION]\n"
        "#[Histogram log format version 1.2]\n"
        f"#[StartTime: {started_s:.3f} (seconds since epoch), {started}]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def lines(histograms: Mapping[tuple[str, str], LatencyHistogram], started_s: float, ended_s: float) -> str:
    """Return a line for each histogram that is not empty; times are seconds since the log's start."""
    return "".join(
        f"Tag={_tag(cell, impl)},{started_s:.3f},{ended_s - started_s:.3f},"
        f"{histogram.max_ns / _NS_PER_MS:.3f},{histogram.encode()}\n"
        for (cell, impl), histogram in histograms.items()
        if histogram.total
    )


def parse(line: str) -> tuple[str, str, LatencyHistogram] | None:
    """Return cell key, implementation and histogram; None for a comment. Raises ValueError for anything else."""
    if line.startswith(("#", '"')):
        return None
    fields = line.split(",")
    if len(fields) != _FIELDS or not fields[0].startswith("Tag=") or fields[0].count("/") != _SLASHES:
        raise ValueError("not a line Tag=CELL/IMPLEMENTATION,start,length,maximum,histogram")
    cell, _, impl = fields[0].removeprefix("Tag=").rpartition("/")
    return cell, unquote(impl), LatencyHistogram.decode(fields[-1])


def _tag(cell: str, impl: str) -> str:
    return f"{cell}/{quote(impl, safe='+')}"


_SLASHES = _tag("short/w1/c100", "name").count("/")
