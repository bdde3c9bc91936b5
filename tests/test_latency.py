"""Our histogram is HdrHistogram's, fed by the array."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.latency import DIGITS, LONGEST_NS, LatencyHistogram
from harness.schema import LatencyUs

VALUES = st.lists(st.integers(min_value=0, max_value=2 * LONGEST_NS) | st.integers(min_value=0, max_value=5000))


def recorded(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    histogram.record(np.array(values, dtype=np.uint64))
    return histogram


@given(values=VALUES)
@settings(max_examples=100)
def test_arrays_are_counted_as_one_by_one(values: list[int]) -> None:
    theirs = HdrHistogram(1, LONGEST_NS, DIGITS)
    for value in values:
        assert theirs.record_value(min(value, LONGEST_NS))
    ours = recorded(values)
    assert list(ours.counts) == list(theirs.counts)
    assert (ours.total, ours.max_ns) == (theirs.get_total_count(), theirs.get_max_value())


@given(values=VALUES, more=VALUES)
@settings(max_examples=50)
def test_merging_is_the_same_as_recording_all(values: list[int], more: list[int]) -> None:
    merged = recorded(values)
    merged.merge(recorded(more))
    whole = recorded([*values, *more])
    assert list(merged.counts) == list(whole.counts)
    assert merged.percentiles_us() == whole.percentiles_us()


@given(values=VALUES)
@settings(max_examples=50)
def test_the_text_form_gives_back_the_same(values: list[int]) -> None:
    histogram = recorded(values)
    again = LatencyHistogram.decode(histogram.encode())
    assert list(again.counts) == list(histogram.counts)
    assert (again.total, again.max_ns) == (histogram.total, histogram.max_ns)
    assert again.percentiles_us() == histogram.percentiles_us()


def test_percentiles_are_right_to_three_digits() -> None:
    found = recorded([n * 1000 for n in range(1, 100_001)]).percentiles_us()
    assert found.p50 == pytest.approx(50_000, rel=1e-3)
    assert found.p90 == pytest.approx(90_000, rel=1e-3)
    assert found.p99 == pytest.approx(99_000, rel=1e-3)
    assert found.p99_9 == pytest.approx(99_900, rel=1e-3)
    assert found.max == pytest.approx(100_000, rel=1e-3)


def test_nothing_recorded_is_no_claim() -> None:
    assert recorded([]).percentiles_us() == LatencyUs()


@given(cut=st.integers(min_value=0, max_value=1000))
@settings(max_examples=100)
def test_a_cut_text_is_refused(cut: int) -> None:
    text = recorded([1000, 2000, 500_000]).encode()
    with pytest.raises(ValueError, match="HdrHistogram"):
        LatencyHistogram.decode(text[: cut % len(text)])


def test_another_range_is_refused() -> None:
    other = HdrHistogram(1, 1000, 2)
    other.record_value(5)
    with pytest.raises(ValueError, match="range and digits"):
        LatencyHistogram.decode(other.encode().decode())
