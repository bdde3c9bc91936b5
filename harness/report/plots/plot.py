"""What a plot is."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart with its title, and the figures that it shows."""

    name: str
    """Lower case letters, digits and hyphens: its id in the page and its file's name, alike for no two of a run."""
    title: str
    caption: str
    """What to see in it, in a sentence or two."""
    chart: alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart
    """Every mark has a description (the channel of that name): the tooltip, and what a screen reader says."""
    columns: Sequence[str]
    """Heads of the table."""
    rows: Sequence[Sequence[str]]
    """Its lines, as text that is ready to be shown, but not escaped."""
