"""What counts as growth of a worker: not the first tenth, not noise, not one step of an allocator."""

import random
from dataclasses import replace

import pytest

from harness.analysis.growth import STEP_BYTES, Sample, growth

CONNECTIONS = 1_000_000
MB = 1_000_000


def samples(
    per_connection: float = 0.0, *, step_at: int = CONNECTIONS + 1, noise: int = 0, fds: int = 7
) -> list[Sample]:
    """Make samples of a worker that grows by so many bytes a connection, and once by an allocator's step."""
    source = random.Random(7)
    found = []
    for done in range(5_000, CONNECTIONS + 1, 5_000):
        memory = 9 * MB + per_connection * done + (STEP_BYTES if done >= step_at else 0) + source.randint(0, noise)
        found.append(Sample(done, 5 * MB + int(memory), int(memory), fds))
    return found


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(samples(), id="nothing at all"),
        pytest.param(samples(noise=400_000), id="noise"),
        pytest.param(samples(step_at=600_000), id="one step"),
        pytest.param([Sample(1, MB, MB, 7), *samples()], id="a small beginning"),
    ],
)
def test_noise_and_a_single_step_are_no_growth(kept: list[Sample]) -> None:
    found = growth(kept, CONNECTIONS)
    assert found.told
    assert not found.grows


@pytest.mark.parametrize("per_connection", [0.5, 1.0, 100.0])
def test_growth_by_connections_is_found_in_noise(per_connection: float) -> None:
    found = growth(samples(per_connection, noise=100_000), CONNECTIONS)
    assert found.grows
    assert found.slope.value == pytest.approx(1000 * per_connection, rel=0.1)
    assert found.slope.low is not None
    assert found.slope.high is not None
    assert found.slope.low < 1000 * per_connection < found.slope.high
    assert found.grown_bytes == pytest.approx(0.9 * CONNECTIONS * per_connection, rel=0.1)


def test_one_descriptor_more_is_growth() -> None:
    kept = samples()
    kept[-1] = Sample(CONNECTIONS, MB, MB, 8)
    found = growth(kept, CONNECTIONS)
    assert found.descriptors == 1
    assert found.grows


def test_a_descriptor_that_is_lost_is_not_hidden_by_one_that_was_open_at_the_first_tenth() -> None:
    kept = [replace(one, descriptors=7 if one.connections < 500_000 else 8) for one in samples()]
    first = next(number for number, one in enumerate(kept) if one.connections * 10 >= CONNECTIONS)
    kept[first] = replace(kept[first], descriptors=9)
    assert growth(kept, CONNECTIONS).descriptors == 1


def test_descriptors_of_the_first_tenth_are_none() -> None:
    assert not growth([Sample(1, MB, MB, 5), *samples()], CONNECTIONS).grows


def test_there_is_a_line_for_each_tenth() -> None:
    assert [one.connections for one in growth(samples(), CONNECTIONS).tenths] == list(
        range(CONNECTIONS // 10, CONNECTIONS + 1, CONNECTIONS // 10)
    )


def test_a_descriptor_more_is_growth_however_few_the_samples_are() -> None:
    *few, last = samples()[:22]
    found = growth([*few, replace(last, descriptors=8)], CONNECTIONS)
    assert not found.told
    assert found.grows


def test_few_samples_tell_nothing() -> None:
    found = growth(samples()[:22], CONNECTIONS)
    assert not found.told
    assert not found.grows
