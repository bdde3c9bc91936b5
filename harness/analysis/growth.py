"""Whether a worker's memory grows with the number of connections that it has answered.

Memory grows at first, while caches and free lists fill, so the first tenth of the connections does not count. The slope
is Theil and Sen's, the median of the slopes between any two samples, with its 95 % interval: an allocator grows in
steps, which least squares take for more than they are. One that takes another block for good has grown by that, so what
counts as growth is a slope whose interval lies above 0, and that comes to more than such a block over all connections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.schema import Estimate

STEP_BYTES = 262_144
"""An allocator's step: glibc grows the heap by 128 KiB at least (M_TOP_PAD, mallopt(3)), and memory comes back in pages
that many objects share."""
FEWEST_SAMPLES = 10
_CONFIDENCE = 0.95
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker when it had answered so many connections, and none was open."""

    connections: int
    rss_bytes: int
    allocated_bytes: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What one worker's samples tell."""

    tenths: list[Sample]
    """The first sample after each tenth of the connections."""
    slope: Estimate
    """Bytes of memory per thousand connections after the first tenth; no claim from few samples."""
    descriptors: int
    """How many more there were in the end than when there were fewest after the first tenth."""
    grown_bytes: float
    """What the slope comes to over all connections after the first tenth."""

    @property
    def grows(self) -> bool:
        """Whether there is growth beyond noise."""
        return self.descriptors > 0 or (
            self.slope.low is not None and self.slope.low > 0 and self.grown_bytes > STEP_BYTES
        )

    @property
    def told(self) -> bool:
        """Whether there were samples enough to tell of memory."""
        return self.slope.value is not None


def growth(samples: Sequence[Sample], connections: int) -> Growth:
    """Look at the samples of one worker, which are in their order; ``connections`` were planned in all."""
    later = [sample for sample in samples if sample.connections * 10 >= connections]
    tenths = _tenths(samples, connections)
    # A descriptor is a descriptor, however few the samples are.
    descriptors = later[-1].descriptors - min(sample.descriptors for sample in later) if later else 0
    if len(later) < FEWEST_SAMPLES:
        return Growth(tenths, Estimate(), descriptors, 0.0)
    from scipy.stats import theilslopes  # noqa: PLC0415  takes a second, which no other command should wait for

    found = theilslopes(
        [float(sample.allocated_bytes) for sample in later],
        [sample.connections / _THOUSAND for sample in later],
        alpha=_CONFIDENCE,
    )
    slope = Estimate(float(found.slope), float(found.low_slope), float(found.high_slope))
    span = (later[-1].connections - later[0].connections) / _THOUSAND
    return Growth(tenths, slope, descriptors, float(found.slope) * span)


def _tenths(samples: Sequence[Sample], connections: int) -> list[Sample]:
    found = []
    for tenth in range(1, 11):
        reached = [sample for sample in samples if sample.connections * 10 >= connections * tenth]
        found += reached[:1]
    return found
