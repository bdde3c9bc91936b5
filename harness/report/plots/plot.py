"""What a plot is."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart with its title, and the figures that it shows."""

    name: str
    """Lower case letters, digits and hyphens: its id in the page and its file's name, alike for no two of a run."""
    cell: str = ""
    """The key of the cell that it is about, where the page shows it; empty: of several cells, or of the whole run."""
    title: str
    caption: str
    """What to see in it, in a sentence or two."""
    chart: Chart
    """Every mark that stands for a figure has a description (the channel of that name): the tooltip, and what a screen
    reader says. The others, such as whiskers, have ``aria=False``. Colours are those of ``style.py``."""
    is_wide: bool = False
    """Whether it takes the page's whole width, ``style.WIDE`` instead of ``style.WIDTH``; a phone scrolls it."""
    frames: str = ""
    """Of a flame graph: what the page's script draws it from in the place of the chart, as JSON that can stand in a
    script."""
    columns: Sequence[str]
    """Heads of the table."""
    rows: Sequence[Sequence[str]]
    """Its lines, as text that is ready to be shown, but not escaped."""
