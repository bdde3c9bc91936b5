"""The evidence behind the verdicts of one cell, in full."""

import textwrap
from collections.abc import Iterator, Sequence

from harness.analysis.evidence import Evidence
from harness.analysis.series import NOTHING, Series, gather
from harness.errors import BadInput
from harness.report import figures
from harness.report.figures import WIDTH
from harness.schema import CellSummary, ClientPorts, Plan, PlannedCell, Slice, Summary, TcpCounts

_NOT_OBSERVED = "not observed"
_LABEL_WIDTH = 20
_CPU_HEADERS = ("CPU", "of", "user %", "system %", "softirq %", "idle %", "steal %")
_CPU_ALIGNMENT = ("right", "left", *["right"] * 5)
_MIB = 2**20
_NS_PER_US = 1000
_MS_PER_S = 1000


def render(plan: Plan, slices: Sequence[Slice], summary: Summary, cell: str, impl: str | None = None) -> str:
    """Return the evidence for one cell, of all implementations or of ``impl`` alone.

    Raises BadInput when ``cell`` or ``impl`` is not in the run, or several cells begin like ``cell``.
    """
    planned = find_cell(plan, cell)
    entries = [entry for entry in summary.cells if entry.cell.key == planned.key and impl in {None, entry.impl}]
    if not entries:
        names = ", ".join(figures.printable(one.name) for one in plan.taking_part(planned))
        raise BadInput(f"--impl {impl}: did not take part; these did: {names}")
    measured = gather(plan, slices)
    parts = [_heading(plan, planned)]
    for entry in entries:
        load = Evidence(measured.get((planned.key, entry.impl, "load"), NOTHING))
        fixed = Evidence(measured.get((planned.key, entry.impl, "fixed-rate"), NOTHING))
        lines = [_line(label, text) for label, text in _lines(plan, planned, entry, load, fixed)]
        parts.append("\n".join([figures.printable(entry.impl), *lines]))
        if load.cpus:
            parts.append(_cpu_table(planned, load))
    return "\n\n".join(parts) + "\n"


def find_cell(plan: Plan, text: str) -> PlannedCell:
    """Return the cell with this key, or the only one whose key begins so. Raises BadInput, with the cells to choose."""
    wanted = text.rstrip("/")
    exact = [cell for cell in plan.cells if cell.key == wanted]
    found = exact or [cell for cell in plan.cells if cell.key.startswith(f"{wanted}/")]
    if len(found) == 1:
        return found[0]
    what = "several cells begin so" if found else "no such cell in this run"
    raise BadInput(f"{text}: {what}; choose from {', '.join(cell.key for cell in found or plan.cells)}")


def _heading(plan: Plan, cell: PlannedCell) -> str:
    places = [f"{role} on CPU {' '.join(map(str, cpus))}" for role, cpus in cell.roles.items()]
    return figures.wrap(f"{cell.key}: {figures.load(cell)}; {', '.join([plan.testbed, *places])}", WIDTH, hanging="  ")


def _line(label: str, text: str) -> str:
    return figures.wrap(figures.printable(text), WIDTH, f"  {label:<{_LABEL_WIDTH}}", " " * (_LABEL_WIDTH + 2))


def _lines(
    plan: Plan, cell: PlannedCell, entry: CellSummary, load: Evidence, fixed: Evidence
) -> Iterator[tuple[str, str]]:
    yield "verdict", f"{entry.verdict}: {entry.evidence}"
    yield "measured", _measured(load)
    if fixed.slices:
        yield "at a fixed rate", _fixed_rate(fixed)
    if not load.slices:
        return
    yield "errors", ", ".join(f"{count:,} {kind}" for kind, count in load.series.errors.items()) or "none"
    yield "rates of the rounds", _rates(load)
    yield "server's processes", _server(cell, load)
    yield "generators", _generators(cell, load)
    if cell.backend_cpus:
        yield "backend", _backend(cell, load)
    yield "context switches", _context_switches(load)
    yield "TCP segments", _segments(plan, load.series)
    yield "listen queue", _listen_queue(load.series.tcp)
    yield "client's ports", _ports(load.series.ports_at_worst)
    yield "resident memory", _memory(load.series.rss_bytes)
    if cell.idle:
        yield "idle connections", _idle(cell, load.series)
    yield "accepted by workers", _workers(load.series.worker_accepted)
    yield "local to workers", _local(load.series)


def _measured(load: Evidence) -> str:
    if not load.slices:
        return "nothing"
    lengths_ms = sorted({piece.slice_s * _MS_PER_S for piece in load.slices})
    length = f"{lengths_ms[0]:.0f}" if len(lengths_ms) == 1 else f"{lengths_ms[0]:.0f} to {lengths_ms[-1]:.0f}"
    rounds, blocks = figures.plural(len(load.slices), "round"), figures.plural(load.blocks, "block")
    return f"{rounds} in {blocks}, a slice of {length} ms in each; {load.series.requests:,} correct replies"


def _fixed_rate(fixed: Evidence) -> str:
    series = fixed.series
    rates = sorted({piece.rate_rps for piece in fixed.slices if piece.rate_rps})
    cpu_us = f"{series.server_cpu_ns / series.requests / _NS_PER_US:,.1f}" if series.requests else figures.NONE
    return (
        f"{figures.plural(len(fixed.slices), 'slice')} at {' and '.join(f'{rate:,}' for rate in rates)} requests/s: "
        f"{cpu_us} µs of the processes' CPU time per request, {figures.plural(sum(series.errors.values()), 'error')}"
    )


def _rates(load: Evidence) -> str:
    if not load.rate_quantiles_rps:
        return "no slice was long enough to tell one"
    least, quarter, median, three_quarters, most = (f"{rate:,.0f}" for rate in load.rate_quantiles_rps)
    trend = "" if load.trend is None else f"; the second half {load.trend:.3f} times the first"
    return (
        f"least {least}, 25 % below {quarter}, median {median}, 75 % below {three_quarters}, most {most} "
        f"requests/s{trend}"
    )


def _server(cell: PlannedCell, load: Evidence) -> str:
    share = load.server_user_share
    split = "" if share is None else f", {_per_cent(share)} of it user, {_per_cent(1 - share)} system"
    return f"{_per_cent(load.busy(load.series.server_cpu_ns, cell.workers))} of a worker's CPU{split}"


def _generators(cell: PlannedCell, load: Evidence) -> str:
    if not load.series.generator_cpu_ns:
        return _NOT_OBSERVED
    names = [f"CPU {cpu}" for cpu in cell.generator_cpus[: len(load.series.generator_cpu_ns)]]
    names += ["one more"] * (len(load.series.generator_cpu_ns) - len(names))
    shares = (_per_cent(load.busy(time_ns, 1)) for time_ns in load.series.generator_cpu_ns)
    return ", ".join(f"{share} of {name}" for name, share in zip(names, shares, strict=True))


def _backend(cell: PlannedCell, load: Evidence) -> str:
    alone = load.backend_rps
    rate = _NOT_OBSERVED
    if alone:
        rate = " to ".join(f"{rate:,}" for rate in dict.fromkeys((min(alone), max(alone)))) + " requests/s"
    busy = _per_cent(load.busy(load.series.backend_cpu_ns, len(cell.backend_cpus)))
    return f"{busy} of its CPUs; without a server between: {rate}"


def _context_switches(load: Evidence) -> str:
    if load.context_switches is None or not load.series.requests:
        return _NOT_OBSERVED
    voluntary, involuntary = (count / load.series.requests for count in load.context_switches)
    return f"{voluntary:.3f} voluntary and {involuntary:.3f} involuntary per request"


def _segments(plan: Plan, series: Series) -> str:
    counts, segments = series.tcp, series.segments_per_request()
    if counts is None or segments.in_ is None:
        return _NOT_OBSERVED
    both = " (both sides and the backend, which loopback counts as one)" if plan.testbed == "loopback" else ""
    return f"{segments.in_:.2f} in and {segments.out:.2f} out per request{both}; {counts.retransmitted:,} retransmitted"


def _listen_queue(counts: TcpCounts | None) -> str:
    if counts is None:
        return _NOT_OBSERVED
    return f"{figures.plural(counts.listen_overflows, 'overflow')}, {figures.plural(counts.listen_drops, 'drop')}"


def _ports(worst: ClientPorts | None) -> str:
    if worst is None:
        return _NOT_OBSERVED
    return f"at most {worst.time_wait:,} in TIME_WAIT, at least {worst.left:,} left"


def _memory(most_bytes: int) -> str:
    return f"{most_bytes / _MIB:,.1f} MiB at most" if most_bytes else _NOT_OBSERVED


def _idle(cell: PlannedCell, series: Series) -> str:
    resident = series.idle_rss_bytes
    each = f"memory {_NOT_OBSERVED}" if resident is None else f"{resident / cell.idle:,.0f} bytes of memory each"
    return f"{cell.idle:,}; {each}"


def _workers(accepted: Sequence[int]) -> str:
    if not sum(accepted):
        return _NOT_OBSERVED
    shares = (f"{index}: {_per_cent(count / sum(accepted))}" for index, count in enumerate(accepted))
    return f"{', '.join(shares)} of {sum(accepted):,} connections"


def _local(series: Series) -> str:
    told = series.worker_local
    parts = [
        _of_worker_cpus([(worker.local_accepts, worker.sampled_accepts) for worker in told], "accepted connections"),
        _of_worker_cpus([(worker.local_backends, worker.sampled_backends) for worker in told], "backend connections"),
    ]
    return "; ".join(filter(None, parts)) or _NOT_OBSERVED


def _of_worker_cpus(counts: Sequence[tuple[int, int]], what: str) -> str:
    """Say how many of those that were asked are local, in all and for each worker; nothing where none was."""
    local, sampled = sum(local for local, _ in counts), sum(sampled for _, sampled in counts)
    if not sampled:
        return ""
    shares = (
        f"{index}: {_per_cent(own_local / own) if own else figures.NONE}"
        for index, (own_local, own) in enumerate(counts)
    )
    return f"{_per_cent(local / sampled)} of {sampled:,} {what} asked ({', '.join(shares)})"


def _cpu_table(cell: PlannedCell, load: Evidence) -> str:
    rows = [
        [str(one.cpu), ", ".join(role for role, cpus in cell.roles.items() if one.cpu in cpus) or figures.NONE]
        + [figures.per_cent(share) for share in one[1:]]
        for one in load.cpus
    ]
    return textwrap.indent(figures.table(rows, _CPU_HEADERS, _CPU_ALIGNMENT), "  ")


def _per_cent(share: float) -> str:
    return f"{figures.per_cent(share)} %"
