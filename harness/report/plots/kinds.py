"""Which plots there are, in the order in which the page has them."""

from collections.abc import Callable, Sequence

from harness.profile_schema import Profile
from harness.report.plots import ratio
from harness.report.plots.plot import Plot
from harness.results import StoredRun
from harness.schema import Summary

KINDS: Sequence[Callable[[StoredRun, Summary], list[Plot]]] = (ratio.plots,)
"""Each returns the plots of its kind, none where the run has not the figures."""
PROFILE_KINDS: Sequence[Callable[[Profile], list[Plot]]] = ()
"""Likewise of what ``harness profile`` has found."""


def all_plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return all plots of a run."""
    return [plot for kind in KINDS for plot in kind(run, summary)]


def of_profile(profile: Profile) -> list[Plot]:
    """Return all plots of a profile."""
    return [plot for kind in PROFILE_KINDS for plot in kind(profile)]
