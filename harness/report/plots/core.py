"""Where the core goes: what requests take by kinds of work, as bars, and by what was done, with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import altair as alt

from harness.analysis.profile_rules import (
    CATEGORIES,
    ENTRY,
    INTERPRETER,
    INTERRUPTS,
    LIBC,
    LIBRARY,
    NOT_OF_REQUESTS,
    OTHER_KERNEL,
    OWN_CODE,
    SCHEDULER,
    SENDING,
    UNKNOWN,
)
from harness.profile_schema import ImplementationProfile, Profile
from harness.report import figures
from harness.report.plots import style
from harness.report.plots.plot import Chart, Plot
from harness.schema import Estimate

_NETWORK: Final = "network"
_KINDS: Final[Mapping[str, Sequence[str]]] = {
    _NETWORK: (),
    "interrupts": (INTERRUPTS, SENDING),
    "scheduler, timers, locks, kernel entry": (SCHEDULER, "timers", "locks", ENTRY),
    "memory": ("memory",),
    "the program": (INTERPRETER, LIBRARY, LIBC, OWN_CODE),
    "nobody can tell": (OTHER_KERNEL, UNKNOWN),
}
"""Categories that people look for together; all others that requests take are the network's."""
_COLOURS: Final = dict(zip(_KINDS, (*style.WORK, style.GREY), strict=True))
_ROW: Final = 11
"""Pixels for each implementation beside others."""
_NAMES_PX: Final = 250
"""What the longest name of a category takes, in the widest of usual fonts."""
_PLACES: Final = 2
"""Decimals of a figure in words."""


def plots(profile: Profile) -> list[Plot]:
    """Return the two plots of a profile; none where it has no figures."""
    found = [one for one in profile.implementations if one.us_per_request.value is not None]
    return [_by_kind(profile, found), _by_category(profile, found)] if found else []


def _by_kind(profile: Profile, found: Sequence[ImplementationProfile]) -> Plot:
    sums = {one.impl: _kinds(one) for one in found}
    return Plot(
        name="core",
        title=f"Where the core goes: CPU time of a request at {profile.rate_rps:,} requests/s",
        caption=(
            "All that a request takes, its packets included. The network: TCP, connections, sockets, epoll, devices "
            "and softirqs. Whiskers are the 95 % interval of the sum."
        ),
        is_wide=True,
        chart=_bars(found, sums),
        columns=("implementation", *(f"{kind}, µs" for kind in _KINDS), "all, µs", "95 % interval"),
        rows=[
            [
                figures.printable(one.impl),
                *(_number(sums[one.impl][kind]) for kind in _KINDS),
                *_figure(one.us_per_request),
            ]
            for one in found
        ],
    )


def _kinds(one: ImplementationProfile) -> dict[str, float]:
    """Add up a request's time by kind of work."""
    sums = dict.fromkeys(_KINDS, 0.0)
    kind_of = {category: kind for kind, categories in _KINDS.items() for category in categories}
    for part in one.categories:
        if part.name not in NOT_OF_REQUESTS:
            sums[kind_of.get(part.name, _NETWORK)] += part.us_per_request.value or 0.0
    return sums


def _bars(found: Sequence[ImplementationProfile], sums: Mapping[str, Mapping[str, float]]) -> Chart:
    rows = [
        {
            "name": style.label(one.impl), "kind": kind, "us": us, "order": order,
            "says": f"{figures.printable(one.impl)}, {kind}: {_number(us)} µs of {_number(one.us_per_request.value)}",
        }
        for one in found
        for order, (kind, us) in enumerate(sums[one.impl].items())
        if us
    ]  # fmt: skip
    totals = [
        {"name": style.label(one.impl), "low": one.us_per_request.low, "high": one.us_per_request.high} for one in found
    ]
    kinds = [kind for kind in _KINDS if any(row["kind"] == kind for row in rows)]
    colours = alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds])
    axis = alt.Axis(title="CPU µs per request", tickCount=6)
    bars = alt.Chart(style.data(rows)).mark_bar(stroke=style.PAGE, strokeWidth=1, size=22).encode(
        x=alt.X("us:Q", axis=axis), y=style.names_axis(), order="order:Q", description="says:N",
        color=alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, columns=3)),
    )  # fmt: skip
    whiskers = alt.Chart(style.data(totals)).mark_rule(aria=False, strokeWidth=2, color=style.TEXT)
    return alt.layer(bars, whiskers.encode(x=alt.X("low:Q"), x2="high:Q", y=style.names_axis())).properties(
        height=alt.Step(style.ROW)
    )


def _by_category(profile: Profile, found: Sequence[ImplementationProfile]) -> Plot:
    names = [name for name in CATEGORIES if name not in NOT_OF_REQUESTS and any(_of(one, name).value for one in found)]
    return Plot(
        name="core-categories",
        title="The same by what was done",
        caption=(
            f"The innermost function that a rule names decides; {profile.frequency_hz:,} samples a second of each CPU. "
            "Whiskers are 95 % intervals over the turns."
        ),
        is_wide=True,
        chart=_dots(profile, found, names),
        columns=(
            "what was done",
            *(head for one in found for head in (f"{figures.printable(one.impl)}, µs", "95 % interval")),
        ),
        rows=[[name, *(part for one in found for part in _figure(_of(one, name)))] for name in names],
    )


def _dots(profile: Profile, found: Sequence[ImplementationProfile], names: Sequence[str]) -> Chart:
    colours = {one.impl: style.colour(index) for index, one in enumerate(profile.implementations)}
    rows = [
        {
            "name": name, "impl": figures.printable(one.impl),
            "us": known.value, "low": known.low, "high": known.high,
            "colour": colours[one.impl],
            "says": f"{figures.printable(one.impl)}, {name}: {' '.join(_in_words(known))}",
        }
        for name in names
        for one in found
        if (known := _of(one, name)).value is not None
    ]  # fmt: skip
    shown = [figures.printable(one.impl) for one in found]
    beside = alt.YOffset("impl:N", sort=shown)
    scale = alt.Scale(domain=shown, range=[colours[one.impl] for one in found])
    chart = alt.Chart(style.data(rows)).encode(y=style.names_axis(room=_NAMES_PX), yOffset=beside)
    whiskers = chart.mark_rule(aria=False, strokeWidth=2).encode(
        x=alt.X("low:Q"), x2="high:Q", color=alt.Color("colour:N", scale=None)
    )
    dots = chart.mark_circle(size=50, opacity=1).encode(
        x=alt.X("us:Q", axis=alt.Axis(title="CPU µs per request", tickCount=6)),
        fill=alt.Fill("impl:N", scale=scale, legend=alt.Legend(title=None, columns=4)),
        description="says:N",
    )
    height = len(names) * (len(found) + 1) * _ROW
    return alt.layer(whiskers, dots).properties(height=height)


def _of(one: ImplementationProfile, category: str) -> Estimate:
    """Return what a category takes; nothing at all where no sample was of it."""
    return next((part.us_per_request for part in one.categories if part.name == category), Estimate(0.0, 0.0, 0.0))


def _figure(known: Estimate) -> Iterator[str]:
    yield _number(known.value)
    yield figures.interval(known, _PLACES)


def _in_words(known: Estimate) -> Iterator[str]:
    yield f"{_number(known.value)} µs"
    yield f"({figures.interval(known, _PLACES)})"


def _number(us: float | None) -> str:
    return figures.number(us, _PLACES)
