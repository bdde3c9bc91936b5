"""The tables of one cell: how fast, what it costs, and in an open loop when what has come."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.report import figures
from harness.report.cells import CellFigures
from harness.schema import CellSummary, Estimate, LatencyUs, WorkerBalance

_NAME_WIDTHS = (len("epoll_raw+reuseport+fastsocket+lean"), len("epoll_raw+percpu+lean"), len("epoll_raw+lean"))
"""The widest with which all of a table fits is taken, or the last."""
_SHOW_MS_FROM_US = 10_000.0
_SHOW_THOUSANDS_FROM_RPS = 1_000_000.0
_SHOW_WHOLE_US_FROM = 100.0
_KNOWN_FROM = 30
"""Of so many connections a share of a half is known to 0.18 (95 %); of fewer none is shown."""
_MEGABYTE, _KILOBYTE = 1_000_000, 1000


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a row for each implementation; a line break within a figure parts it from its interval."""

    names: Sequence[str]
    """As they are: neither escaped nor broken."""
    rows: Sequence[Sequence[str]]
    """What follows the names."""
    headers: Sequence[str]
    """Of the names' column, too."""
    alignment: Sequence[str]
    marks: Sequence[str] = ()
    """What stands before each name; none, or one for each."""

    def text(self) -> str:
        """Return the table for a terminal; names are broken where it would be too wide."""
        found = ""
        marks = self.marks or [""] * len(self.names)
        for width in _NAME_WIDTHS:
            names = [_name(name, mark, width) for name, mark in zip(self.names, marks, strict=True)]
            rows = [[name, *row] for name, row in zip(names, self.rows, strict=True)]
            found = figures.table(rows, self.headers, self.alignment)
            if max(map(len, found.splitlines())) <= figures.WIDTH:
                break
        return found


def of_cell(cell: CellFigures, reference: str) -> list[Table]:
    """Return the tables of a cell."""
    found = [performance(cell.entries, cell.ranks, reference)]
    found += [times(cell.entries)] if any(entry.first_byte_us.p50 is not None for entry in cell.entries) else []
    found.append(costs(cell.entries, reference))
    return [*found, *([with_idle(cell.entries)] if cell.cell.idle else [])]


def performance(entries: Sequence[CellSummary], ranks: Mapping[str, int], reference: str) -> Table:
    """Return the table of rates, latencies and verdicts, a row for each entry."""
    units = _Units.fitting(entries)
    marks = [f"{ranks.get(entry.impl) or figures.NONE} " for entry in entries]
    rows = [_row(entry, units, reference) for entry in entries]
    return Table(_names(entries), rows, units.headers(), ("left", *["right"] * 6, "left"), marks)


def costs(entries: Sequence[CellSummary], reference: str) -> Table:
    """Return the table of what a request takes of the server's CPUs, network and memory."""
    rates = {entry.at_fixed_rate.rate_rps for entry in entries} - {None}
    at = f"{rates.pop():,}/s" if len(rates) == 1 else "fixed rate"
    headers = [
        "", "CPU µs\n/request", "ratio", f"CPU µs\nat {at}", f"ratio\nat {at}", "segments\nin + out", "memory\nMB",
        "share of\na worker",
    ]  # fmt: skip
    rows = [_cost(entry, reference) for entry in entries]
    return Table(_names(entries), rows, headers, ("left", *["right"] * 7))


def times(entries: Sequence[CellSummary]) -> Table:
    """Return the table of an open loop: all times are from when a request was due."""
    longest_us = max(entry.latency_us.p99 or 0.0 for entry in entries)
    units = _Units(in_thousands=False, longest_us=longest_us)
    unit = "ms" if units.in_ms else "µs"
    names = [("connect", "p50"), ("", "p99"), ("first byte", "p50"), ("", "p99"), ("last byte", "p50"), ("", "p99")]
    headers = ["", *(f"{name}\n{percentile} {unit}" for name, percentile in names), f"generator\nlate, p99 {unit}"]
    rows = []
    for entry in entries:
        parts: list[LatencyUs] = [entry.connect_us, entry.first_byte_us, entry.latency_us]
        figures_us = [us for part in parts for us in (part.p50, part.p99)] + [entry.lateness_us]
        rows.append(list(map(units.latency, figures_us)))
    return Table(_names(entries), rows, headers, ("left", *["right"] * 7))


def with_idle(entries: Sequence[CellSummary]) -> Table:
    """Return the table of what idle connections cost, against the same server without them."""
    headers = [
        "with idle\nconnections",
        "memory kB\nfor each",
        "requests/s to\nthose without",
        "CPU/request to\nthat without",
    ]
    rows = [
        [
            figures.number(None if entry.with_idle.rss_bytes is None else entry.with_idle.rss_bytes / _KILOBYTE, 2),
            _ratio(entry.with_idle.throughput_ratio, is_reference=False),
            _ratio(entry.with_idle.cpu_ratio, is_reference=False),
        ]
        for entry in entries
    ]
    return Table(_names(entries), rows, headers, ("left", *["right"] * 3))


@dataclass(frozen=True)
class _Units:
    """The units of one table: the same in all its rows, and large enough for short figures."""

    in_thousands: bool
    longest_us: float
    """The largest latency that is shown."""

    @classmethod
    def fitting(cls, entries: Sequence[CellSummary]) -> Self:
        return cls(
            in_thousands=any((entry.throughput_rps.high or 0) >= _SHOW_THOUSANDS_FROM_RPS for entry in entries),
            longest_us=max(entry.latency_us.p99_9 or 0.0 for entry in entries),
        )

    @property
    def in_ms(self) -> bool:
        return self.longest_us >= _SHOW_MS_FROM_US

    def headers(self) -> list[str]:
        time = "ms" if self.in_ms else "µs"
        rate = "1000\nrequests/s" if self.in_thousands else "requests/s"
        latencies = [f"{percentile}\n{time}" for percentile in ("p50", "p99", "p99.9")]
        return ["", rate, "ratio", *latencies, "errors", "verdict"]

    def rate(self, throughput_rps: Estimate) -> str:
        decimals = 1 if self.in_thousands else 0
        value, low, high = (
            rps / 1000 if self.in_thousands and rps is not None else rps
            for rps in (throughput_rps.value, throughput_rps.low, throughput_rps.high)
        )
        return figures.estimate(Estimate(value, low, high), decimals)

    def latency(self, value_us: float | None) -> str:
        if value_us is None:
            return figures.NONE
        if not self.in_ms:
            return figures.number(value_us, 0)
        return figures.number(value_us / 1000, max(0, 6 - int(math.log10(self.longest_us))))


def _row(entry: CellSummary, units: _Units, reference: str) -> list[str]:
    latency = entry.latency_us
    return [
        units.rate(entry.throughput_rps),
        _ratio(entry.ratio, is_reference=entry.impl == reference),
        units.latency(latency.p50),
        units.latency(latency.p99),
        units.latency(latency.p99_9),
        f"{entry.errors:,}",
        entry.verdict,
    ]


def _cost(entry: CellSummary, reference: str) -> list[str]:
    cpu, fixed, segments = entry.cpu_us_per_request, entry.at_fixed_rate, entry.segments_per_request
    decimals = 0 if (cpu.total or 0) >= _SHOW_WHOLE_US_FROM else 1
    split = [figures.number(part, decimals) for part in (cpu.user, cpu.system, cpu.softirq) if part is not None]
    is_reference = entry.impl == reference
    return [
        f"{figures.number(cpu.total, decimals)}\n{' + '.join(split)}",
        _ratio(entry.cpu_ratio, is_reference=is_reference),
        figures.estimate(fixed.cpu_us_per_request, decimals),
        _ratio(fixed.cpu_ratio, is_reference=is_reference),
        figures.NONE if segments.in_ is None else f"{segments.in_:.2f} + {figures.number(segments.out, 2)}",
        figures.number(entry.rss_bytes / _MEGABYTE, 0) if entry.rss_bytes else figures.NONE,
        sharing(entry),
    ]


def sharing(entry: CellSummary) -> str:
    """Return how evenly workers share the connections, and under it how many are local; NONE for one worker."""
    return figures.NONE if entry.workers == 1 else f"{_balance(entry.worker_balance)}\n{_locality(entry)}"


def _balance(balance: WorkerBalance) -> str:
    if balance.min_share is None or balance.max_share is None:
        return figures.NONE
    return f"{balance.min_share * 100:.0f} to {balance.max_share * 100:.0f} %"


def _locality(entry: CellSummary) -> str:
    """Return ``97 % local``, in a proxy with the backends' side behind the clients': ``97 + 50 % local``."""
    shares = (
        (entry.local_accept_share, entry.sampled_accepts),
        (entry.local_backend_share, entry.sampled_backends),
    )
    shown = [_known(share, sampled) for share, sampled in shares if share is not None]
    return f"{' + '.join(shown)} % local" if shown else ""


def _known(share: float, sampled: int) -> str:
    return f"{share * 100:.0f}" if sampled >= _KNOWN_FROM else "?"


def _names(entries: Sequence[CellSummary]) -> list[str]:
    return [entry.impl for entry in entries]


def _name(name: str, mark: str, width: int) -> str:
    return mark + figures.name(name, width).replace("\n", f"\n{' ' * len(mark)}")


def _ratio(ratio: Estimate, *, is_reference: bool) -> str:
    if is_reference and ratio.value is not None:
        return "reference"
    return ("tie " if ratio.holds(1.0) else "") + figures.ratio(ratio)
