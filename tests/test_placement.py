"""Who runs on which CPU."""

import pytest

from harness.errors import BadInput
from harness.schema import Cell
from harness.testbed.loopback import place


def test_two_cpus_short() -> None:
    placed = place(Cell("short", 1, 100), [0, 1])
    assert (placed.server_cpus, placed.generator_cpus, placed.backend_cpus) == ((0,), (1,), ())
    assert not placed.shared_cpus


def test_two_cpus_proxy_puts_backend_and_generator_together() -> None:
    placed = place(Cell("proxy", 1, 100), [0, 1])
    assert (placed.server_cpus, placed.generator_cpus, placed.backend_cpus) == ((0,), (1,), (1,))
    assert not placed.shared_cpus


def test_without_a_cpu_left_the_last_is_shared() -> None:
    placed = place(Cell("short", 2, 100), [0, 1])
    assert placed.server_cpus == (0, 1)
    assert placed.shared_cpus == {1}


def test_only_allowed_cpus_in_order() -> None:
    placed = place(Cell("proxy", 2, 100), [9, 3, 5, 7, 1, 11])
    assert placed.server_cpus == (1, 3)
    assert placed.generator_cpus == (5, 7)
    assert placed.backend_cpus == (9, 11)


def test_generators_are_as_many_as_the_workers_need() -> None:
    assert len(place(Cell("short", 1, 100), range(96)).generator_cpus) == 2
    assert len(place(Cell("short", 12, 1000), range(96)).generator_cpus) == 24
    assert len(place(Cell("short", 12, 3), range(96)).generator_cpus) == 3


def test_too_many_workers() -> None:
    with pytest.raises(BadInput, match=r"--workers 3: .* give 2 or less"):
        place(Cell("short", 3, 100), [0, 1])
