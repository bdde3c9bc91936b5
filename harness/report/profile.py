"""The tables of a profile: where the core goes by what was done, and on whose behalf."""

from collections.abc import Callable, Iterator, Sequence

from harness.analysis.profile_rules import CATEGORIES, NOT_OF_REQUESTS, is_system_call
from harness.analysis.series import LEAST_OF_RATE
from harness.profile_schema import ImplementationProfile, Part, Profile
from harness.report import figures
from harness.report.figures import NONE, WIDTH
from harness.schema import Estimate

_WITHOUT_DECIMALS = 100.0
_LEAST_US = 0.05
"""A system call that takes less of each is shown with the others of that kind."""
_MOST_LOST = 0.05
MOST_UNSORTED = 0.10
_LEAST_WITHIN_OTHERS, _MOST_WITHIN_OTHERS = 0.01, 0.10
_MOST_NAMED = 3
_OTHER_CALLS = "other system calls"
_LEGEND = (
    "CPU µs per request, with 95 % intervals over the turns; {hz} samples a second of each CPU. Each sample is in one "
    "row of each table. By what was done: the innermost function that a rule names decides. On whose behalf: a softirq "
    "at the end of a system call counts as softirq. What has switched interrupts off is seen where it switches them on "
    "again: an interrupt's own time in 'interrupts', and what passed until an idle CPU took one in 'leaving idle', "
    "as neither work nor rest. So is waking who waits for a socket, which counts as 'scheduler'. Of locks 'locks' has "
    "those that were not free. A library that is Python itself (trio) is in 'Python interpreter'."
)

Parts = Callable[[ImplementationProfile], Sequence[Part]]
Table = Callable[[Sequence[ImplementationProfile]], str]


def render(profile: Profile) -> str:
    """Return both tables, and what there is to say of them."""
    found = [one for one in profile.implementations if one.samples]
    tables = [text for of in (_by_category, _by_context) for text in _fitting(of, found)]
    remarks = [figures.wrap(remark, WIDTH, "  ", "    ") for remark in _remarks(profile)]
    legend = figures.wrap(_LEGEND.format(hz=profile.frequency_hz), WIDTH)
    return "\n\n".join([_title(profile), *tables, *(["\n".join(remarks)] if remarks else []), legend]) + "\n"


def sentences(profile: Profile) -> list[str]:
    """Say of each implementation what a request takes, and what most of that is."""
    return [_sentence(one, profile.rate_rps) for one in profile.implementations]


def _sentence(one: ImplementationProfile, rate_rps: int) -> str:
    name, known = figures.printable(one.impl), one.us_per_request
    if known.value is None:
        return f"Of {name} nothing can be told."
    decimals = 0 if known.value >= _WITHOUT_DECIMALS else 1
    of_requests = [part for part in one.categories if part.name not in NOT_OF_REQUESTS]
    most = sorted(of_requests, key=lambda part: part.us_per_request.value or 0.0, reverse=True)[:_MOST_NAMED]
    named = [f"{part.name} ({figures.number(part.us_per_request.value, decimals)})" for part in most]
    return (
        f"A request takes {figures.number(known.value, decimals)} µs ({figures.interval(known, decimals)}) of CPU with "
        f"{name} at {rate_rps:,} requests/s, most of it for {figures.listing(named)}."
    )


def _fitting(
    table: Callable[[Sequence[ImplementationProfile]], str], found: Sequence[ImplementationProfile]
) -> list[str]:
    """Return the table, or as many with some of the implementations each as it takes to stay within WIDTH."""
    if not found:
        return []
    text = table(found)
    if len(found) == 1 or max(map(len, text.splitlines())) <= WIDTH:
        return [text]
    half = (len(found) + 1) // 2
    return [*_fitting(table, found[:half]), *_fitting(table, found[half:])]


def _title(profile: Profile) -> str:
    cpus = ", ".join(map(str, profile.server_cpus))
    return (
        f"{profile.workload.upper()}: where CPU {cpus} goes at {profile.rate_rps:,} requests/s, "
        f"{figures.plural(profile.concurrency, 'connection')} at most"
    )


def _by_category(group: Sequence[ImplementationProfile]) -> str:
    def rows(names: Sequence[str]) -> list[list[str]]:
        return [_row(name, group, lambda one: one.categories) for name in names if _is_in(name, group)]

    work = [name for name in CATEGORIES if name not in NOT_OF_REQUESTS]
    rest = [name for name in CATEGORIES if name in NOT_OF_REQUESTS]
    total = ["all that requests take", *(_figure(one.us_per_request) for one in group)]
    return _table("by what was done", [*rows(work), total, *rows(rest)], group)


def _by_context(group: Sequence[ImplementationProfile]) -> str:
    names = dict.fromkeys(part.name for one in group for part in one.contexts)
    calls = [name for name in names if is_system_call(name)]
    shown = [name for name in calls if any(_value(name, one) >= _LEAST_US for one in group)]
    shown.sort(key=lambda name: -sum(_value(name, one) for one in group))
    small = [name for name in calls if name not in shown]
    rows = [_row(name, group, lambda one: one.contexts) for name in shown]
    if small:
        sums = (sum(_value(name, one) for name in small) for one in group)
        rows.append([f"{_OTHER_CALLS} ({len(small)})", *map(_number, sums)])
    rest = sorted((name for name in names if not is_system_call(name)), key=lambda name: name in NOT_OF_REQUESTS)
    rows += [_row(name, group, lambda one: one.contexts) for name in rest]
    return _table("on whose behalf", rows, group)


def _table(what: str, rows: Sequence[Sequence[str]], group: Sequence[ImplementationProfile]) -> str:
    headers = [what, *(figures.printable(one.impl) for one in group)]
    return figures.table(rows, headers, ["left", *["right"] * len(group)])


def _is_in(name: str, group: Sequence[ImplementationProfile]) -> bool:
    return any(part.name == name for one in group for part in one.categories)


def _row(name: str, group: Sequence[ImplementationProfile], parts: Parts) -> list[str]:
    found = [next((part for part in parts(one) if part.name == name), None) for one in group]
    return [figures.printable(name), *(_figure(part.us_per_request) if part else "0" for part in found)]


def _value(name: str, one: ImplementationProfile) -> float:
    return next((part.us_per_request.value or 0.0 for part in one.contexts if part.name == name), 0.0)


def _figure(known: Estimate) -> str:
    """Return a figure, and in brackets its interval; NONE where no claim is made."""
    if known.value is None:
        return NONE
    return f"{_number(known.value)} ({figures.interval(known, _decimals(known.value))})"


def _number(value: float) -> str:
    return figures.number(value, _decimals(value))


def _decimals(value: float) -> int:
    return 1 if value < _WITHOUT_DECIMALS else 0


def _remarks(profile: Profile) -> Iterator[str]:
    if profile.interrupted:
        yield "The run was interrupted; the figures are of the turns before that."
    yield f"Figures of another rate do not compare with these: give --rate {profile.rate_rps} to repeat them."
    yield from map(figures.printable, profile.notes)
    for one in profile.implementations:
        name = figures.printable(one.impl)
        if one.failure:
            yield f"{name} has no more turns: {figures.printable(one.failure)}."
        if one.errors:
            yield f"{name}: {figures.plural(one.errors, 'error')}."
        if one.requests < LEAST_OF_RATE * one.offered:
            yield (
                f"{name} answered {figures.per_cent(one.requests / one.offered)} % of what was offered: it had too "
                "much to do, and its figures are not of this rate."
            )
        if not one.samples:
            yield f"{name}: no figures, as no sample fell into a turn of it that had replies."
            continue
        yield (
            f"{name}: {figures.plural(one.samples, 'sample')} in {figures.plural(one.turns, 'turn')}, "
            f"{figures.plural(one.requests, 'request')}; {_unsorted(one)}{_within_others(one)}{_lost(one)}"
            f"{_by_the_kernel(one)}."
        )


def _unsorted(one: ImplementationProfile) -> str:
    if one.unsorted_share is None:
        return "nothing of them was work for requests"
    warning = ", TOO MUCH to trust the other rows" if one.unsorted_share > MOST_UNSORTED else ""
    return f"of {figures.per_cent(one.unsorted_share)} % of the work nobody can tell what it was{warning}"


def _within_others(one: ImplementationProfile) -> str:
    share = one.within_others_share or 0.0
    if share < _LEAST_WITHIN_OTHERS:
        return ""
    warning = ", TOO MUCH, as it may be theirs" if share > _MOST_WITHIN_OTHERS else ""
    return f"; {figures.per_cent(share)} % of it came by interrupts into other programs{warning}"


def _by_the_kernel(one: ImplementationProfile) -> str:
    """Tell what the kernel's account of the processes says, which lacks what interrupts do to an idle CPU."""
    known = one.process_us_per_request
    return "" if known.value is None else f"; by the kernel's account its processes took {_figure(known)} µs/request"


def _lost(one: ImplementationProfile) -> str:
    lost = 1 - one.samples / one.expected_samples if one.expected_samples else 0.0
    return f"; {figures.per_cent(lost)} % of the samples were lost" if lost > _MOST_LOST else ""
