"""Flame graphs: a still one of few frames as a plot, and in the page one of all frames, which can be searched."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import altair as alt

from harness.analysis import stacks
from harness.analysis.stacks import Folded, Node, is_kernel
from harness.profile_schema import ImplementationProfile, Profile
from harness.report import figures, flamegraph
from harness.report.plots import style
from harness.report.plots.plot import Chart, Plot

MOST_FRAMES: Final = 600
"""Of all still graphs of a profile together."""
_FEWEST_FRAMES: Final = 20
MOST_BYTES: Final = 700_000
"""Of what the page draws all others from."""
_STILL_SHARE: Final = 0.004
"""A frame with less of the samples is no wider than a few pixels."""
_COARSER: Final = 1.5
_ROW: Final = 18
_CHAR_PX: Final = 6.6
_LEAST_CHARS: Final = 4
_TABLE_ROWS: Final = 25


def plots(profile: Profile, folded: Mapping[str, Counter[Folded]]) -> list[Plot]:
    """Return a plot for each implementation whose stacks there are."""
    found = [(number, one) for number, one in enumerate(profile.implementations, 1) if folded.get(one.impl)]
    return [_plot(number, one, folded[one.impl], len(found)) for number, one in found]


def _plot(number: int, one: ImplementationProfile, counts: Counter[Folded], graphs: int) -> Plot:
    name, us = figures.printable(one.impl), one.us_per_request.value
    us_per_sample = us / counts.total() if us is not None else None
    still = _with_frames(counts, max(_FEWEST_FRAMES, MOST_FRAMES // graphs))
    return Plot(
        name=f"flame-{number}",
        title=f"Flame graph of {name}",
        caption=(
            f"A frame is as wide as its share of {figures.plural(counts.total(), 'sample')}; what it called hangs "
            "under it. Their order says nothing."
        ),
        is_wide=True,
        chart=_chart(still, us_per_sample),
        columns=("function that ran", "samples", "of all, %", "CPU µs of a request"),
        rows=[*_rows(counts, us_per_sample)],
        frames=_within(counts, us_per_sample, MOST_BYTES // graphs),
    )


def _with_frames(counts: Counter[Folded], most: int) -> Node:
    """Return the tree without its thinnest frames, so that there are no more than so many."""
    share = _STILL_SHARE
    while True:
        root = stacks.tree(counts, "all", share).root
        if _size(root) <= most:
            return root
        share *= _COARSER


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node.children))


def _within(counts: Counter[Folded], us_per_sample: float | None, most_bytes: int) -> str:
    """Return the frames that the page draws, without the thinnest where they would take more than so much."""
    share = stacks.LEAST_SHARE
    while True:
        text = flamegraph.frames(stacks.tree(counts, "all", share).root, us_per_sample)
        if len(text.encode()) <= most_bytes or share >= 1:
            return text
        share *= _COARSER


def _chart(root: Node, us_per_sample: float | None) -> Chart:
    rows = [*_frames(root, root.samples, us_per_sample, 0.0, 0)]
    deepest = max(row["row"] for row in rows) + 1
    across = alt.X("left:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=None)
    down = alt.Y("row:Q", scale=alt.Scale(domain=[deepest, 0], nice=False), axis=None)
    frames = alt.Chart(style.data(rows)).mark_rect(stroke=style.PAGE, strokeWidth=0.5).encode(
        x=across, x2="right:Q", y=down, y2="below:Q",
        fill=alt.Fill("colour:N", scale=None), description="says:N",
    )  # fmt: skip
    texts = alt.Chart(style.data([row for row in rows if row["text"]])).mark_text(
        aria=False, align="left", baseline="middle", dx=3, dy=_ROW / 2, fontSize=11, fill=style.TEXT
    )
    named = texts.encode(x=across, y=down, text="text:N")
    return alt.layer(frames, named).properties(height=_ROW * deepest)


def _frames(node: Node, of: int, us_per_sample: float | None, left: float, row: int) -> Iterator[dict[str, Any]]:
    name, share = figures.printable(node.name), node.samples / of
    us = "" if us_per_sample is None else f", {node.samples * us_per_sample:.2f} µs per request"
    yield {
        "left": left, "right": left + share, "row": row, "below": row + 1, "text": _fitting(name, share),
        "colour": style.KERNEL if is_kernel(node.name) else style.PROGRAM,
        "says": f"{name}: {figures.plural(node.samples, 'sample')}, {100 * share:.2f} % of all{us}",
    }  # fmt: skip
    for child in node.children:
        yield from _frames(child, of, us_per_sample, left, row + 1)
        left += child.samples / of


def _fitting(name: str, share: float) -> str:
    """Return what of a name has room in its frame."""
    chars = int((share * style.WIDE - 2 * 3) / _CHAR_PX)
    if len(name) <= chars:
        return name
    return f"{name[: chars - 1]}…" if chars >= _LEAST_CHARS else ""


def _rows(counts: Counter[Folded], us_per_sample: float | None) -> Iterator[list[str]]:
    """Yield the functions that most samples were taken in, whoever called them."""
    innermost: Counter[str] = Counter()
    for stack, count in counts.items():
        innermost[stack[-1]] += count
    for name, count in sorted(innermost.items(), key=lambda item: (-item[1], item[0]))[:_TABLE_ROWS]:
        us = figures.NONE if us_per_sample is None else f"{count * us_per_sample:.2f}"
        yield [figures.printable(name), f"{count:,}", f"{100 * count / counts.total():.2f}", us]
