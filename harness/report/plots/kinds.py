"""Which plots there are, in the order in which the page has them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from harness.analysis.stacks import Folded
from harness.profile_schema import Profile
from harness.report.plots import balance, core, cpu, flame, latency, ratio, scaling, slices, throughput
from harness.report.plots.plot import Plot
from harness.results import StoredRun
from harness.schema import Summary

KINDS: Sequence[Callable[[StoredRun, Summary], list[Plot]]] = (
    ratio.plots,
    throughput.plots,
    cpu.plots,
    latency.plots,
    balance.plots,
    slices.plots,
    scaling.plots,
)
"""Each returns the plots of its kind, none where the run has not the figures."""


def all_plots(run: StoredRun, summary: Summary) -> list[Plot]:
    """Return all plots of a run."""
    return [plot for kind in KINDS for plot in kind(run, summary)]


def of_profile(profile: Profile, folded: Mapping[str, Counter[Folded]]) -> list[Plot]:
    """Return all plots of a profile; ``folded`` are the stacks of each implementation, as far as there are any."""
    return [*core.plots(profile), *flame.plots(profile, folded)]
