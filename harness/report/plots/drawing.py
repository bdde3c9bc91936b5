"""From a chart to SVG: in the page, where its colours are the page's variables, or in a file of its own."""

import re
from collections.abc import Mapping
from typing import Any

import vl_convert

from harness.report import figures
from harness.report.plots import style
from harness.report.plots.plot import Plot

_COLOUR = re.compile(r'( (?:fill|stroke)=)"(#0[12][0-9a-f]{4})"')
_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_DRAWN = re.compile(r' (?:d|transform|[xy][12]?|width|height)="[^"]*"')
_CLIP = re.compile(r'(id="|="url\(#)clip(\d+)')
_DEFAULTS = re.compile(r' (?:opacity="1"|pointer-events="none"|font-family="[^"]*"|stroke-width="1")')
_EMPTY = re.compile(r'<path class="(?:background|foreground)"[^>]* d="(?:M0,0h0v0h0Z)?"[^>]*/>')
_SIZE = re.compile(r'^<svg ([^>]*?)width="([0-9.]+)" height="([0-9.]+)"')


def draw(plot: Plot) -> str:
    """Return the chart as SVG with the colours of ``style.py``. It takes a tenth of a second."""
    chart = plot.chart.to_dict(validate=False)
    chart["config"] = style.config()
    return str(vl_convert.vegalite_to_svg(_fitted(chart, style.WIDE if plot.is_wide else style.WIDTH)))


def for_page(drawn: str, colours: Mapping[str, str], name: str) -> str:
    """Return a drawing as a part of the page. ``name`` is what no other has: ids begin with it."""
    found = _DEFAULTS.sub("", _plain(drawn, colours, name))
    return _SIZE.sub(rf'<svg \1id="{name}" role="graphics-document" tabindex="0" aria-labelledby="{name}-title"', found)


def for_file(drawn: str, colours: Mapping[str, str], name: str) -> str:
    """Return a drawing as a file that needs nothing else, on a light background."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_plain(drawn, colours, name)}\n'


def _fitted(chart: dict[str, Any], width: int) -> dict[str, Any]:
    """Have a single chart fill the width with its axes; of several in one each says its own."""
    if any(part in chart for part in ("facet", "hconcat", "vconcat", "concat", "repeat")):
        return chart
    return {"height": 240, **chart, "width": width, "autosize": {"type": "fit-x", "contains": "padding"}}


def _plain(drawn: str, colours: Mapping[str, str], name: str) -> str:
    """Put in the colours, shorten numbers, and call clip paths after the plot, as vega counts on from plot to plot."""
    numbers: dict[str, int] = {}
    found = figures.lines_as_they_are(drawn)
    found = _COLOUR.sub(lambda match: f'{match[1]}"{colours.get(match[2], match[2])}"', found)
    found = _DRAWN.sub(lambda match: _NUMBER.sub(_short, match[0]), found)
    found = _EMPTY.sub("", found)
    return _CLIP.sub(lambda match: f"{match[1]}{name}-clip{numbers.setdefault(match[2], len(numbers))}", found)


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}"
