"""Latencies as HdrHistograms: 3 significant digits from a nanosecond to an hour, mergeable, of constant size."""

import binascii
import zlib
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from hdrh.codec import HdrCookieException, HdrHistogramEncoder, HdrLengthException
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from harness.schema import LatencyUs

LONGEST_NS: Final = 3_600_000_000_000
"""Longer ones count as this."""
DIGITS: Final = 3

Kind = Literal["latency", "connect", "first-byte"]
"""Which time: to the end of the reply, of the handshake, or to the reply's first byte; all have the same begin."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
WHOLE: Final = "latency"

_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_NS_PER_US = 1000.0
_HEADER_BYTES = 8
"""A cookie and a length stand before what is compressed."""
_MOST_BYTES = 2**20
"""Of the counters, before they are compressed: there are 33,792 with 9 bytes at most."""
_LARGEST_COUNT = 2**40
"""A million replies a second for twelve days; sums of millions of such lines stay within 64 bits."""


class LatencyHistogram:
    """Counts of latencies in nanoseconds, fed with whole arrays at a time."""

    def __init__(self, histogram: Any = None) -> None:
        self._histogram = histogram or HdrHistogram(1, LONGEST_NS, DIGITS)
        self.counts: NDArray[np.uint64] = np.ctypeslib.as_array(self._histogram.counts)

    def record(self, latency_ns: NDArray[np.uint64]) -> None:
        """Count each of ``latency_ns``; a slice takes tens of microseconds, where one by one takes milliseconds."""
        if len(latency_ns):
            slots = self._slots(np.minimum(latency_ns, np.uint64(LONGEST_NS)).astype(np.int64))
            self.counts += np.bincount(slots, minlength=len(self.counts)).astype(np.uint64)
            self._refresh()

    def merge(self, other: "LatencyHistogram") -> None:
        """Add the counts of ``other``."""
        self.counts += other.counts
        self._refresh()

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return int(self._histogram.get_total_count())

    @property
    def max_ns(self) -> int:
        """The longest, rounded up to its last significant digit; 0 when there is none."""
        return int(self._histogram.get_max_value())

    def percentiles_us(self) -> LatencyUs:
        """Return the percentiles that the report shows; nulls when nothing was counted."""
        if not self.total:
            return LatencyUs()
        ns = self._histogram.get_percentile_to_value_dict(list(_PERCENTILES))
        p50, p90, p99, p99_9 = (float(ns[percentile]) / _NS_PER_US for percentile in _PERCENTILES)
        return LatencyUs(p50=p50, p90=p90, p99=p99, p99_9=p99_9, max=self.max_ns / _NS_PER_US)

    def value_ns(self, share: float) -> int:
        """Return the latency that so large a share of those that were counted does not exceed."""
        return int(self._histogram.get_value_at_percentile(share * 100))

    def encode(self) -> str:
        """Return the histogram in HdrHistogram's compressed text form."""
        return str(self._histogram.encode().decode("ascii"))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what ``encode`` wrote; raises ValueError for anything else."""
        try:
            _check_size(text)
            payload = HdrHistogramEncoder.decode(text)
            header = payload.payload
            found = (header.lowest_trackable_value, header.highest_trackable_value, header.significant_figures)
            if found != (1, LONGEST_NS, DIGITS):
                raise ValueError(f"range and digits are {found}, not {(1, LONGEST_NS, DIGITS)}")
            decoded = cls(HdrHistogram(*found, hdr_payload=payload))
        except (HdrCookieException, HdrLengthException, binascii.Error, zlib.error, IndexError, OverflowError) as error:
            raise ValueError(f"not an HdrHistogram: {error or 'another kind of data'}") from None
        if decoded.counts.max() > _LARGEST_COUNT:
            raise ValueError(f"not an HdrHistogram of ours: a count is above {_LARGEST_COUNT}")
        return decoded

    def _slots(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of each value's counter: HdrHistogram's own arithmetic, on arrays."""
        half_bits = int(self._histogram.sub_bucket_half_count_magnitude)
        half_count = int(self._histogram.sub_bucket_half_count)
        # The exponent of a floating-point number is its bit length: exact below 2 ** 53.
        bits = np.frexp((values | int(self._histogram.sub_bucket_mask)).astype(np.float64))[1].astype(np.int64)
        bucket = bits - (half_bits + 1)
        slots: NDArray[np.int64] = ((bucket + 1) << half_bits) + (values >> bucket) - half_count
        return slots

    def _refresh(self) -> None:
        """Tell the histogram what its counters hold: it keeps extremes and the total apart."""
        used = np.flatnonzero(self.counts)
        if len(used):
            self._histogram.set_internal_tacking_values(int(used[0]), int(used[-1]), int(self.counts.sum()))


def _check_size(text: str) -> None:
    """Refuse what would be large when decompressed: a megabyte of text can stand for a gigabyte. Raises ValueError."""
    compressed = binascii.a2b_base64(text, strict_mode=True)[_HEADER_BYTES:]
    opened = zlib.decompressobj()
    opened.decompress(compressed, _MOST_BYTES)
    if opened.unconsumed_tail or not opened.eof:
        raise ValueError("not an HdrHistogram: cut off, or far larger than one")
