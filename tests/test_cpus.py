"""Which worker gets which CPU."""

import os

import pytest

from impls import cpus


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 2, 5, 6})


@pytest.mark.parametrize(
    ("workers", "start", "expected"),
    [
        (None, None, (1, 2, 5, 6)),
        (None, 5, (5, 6)),
        (2, None, (1, 2)),
        (3, 2, (2, 5, 6)),
    ],
)
def test_counts_only_allowed_cpus(workers: int | None, start: int | None, expected: tuple[int, ...]) -> None:
    assert cpus.plan(workers, start, oversubscribe=False) == expected


def test_oversubscribed_workers_take_turns() -> None:
    assert cpus.plan(5, 5, oversubscribe=True) == (5, 6, 5, 6, 5)


def test_refuses_more_workers_than_cpus() -> None:
    with pytest.raises(ValueError, match=r"-w 3: .*from CPU 5 on .*2 \(5-6\).*-w 2 or less"):
        cpus.plan(3, 5, oversubscribe=False)


def test_refuses_a_cpu_that_is_not_allowed() -> None:
    with pytest.raises(ValueError, match=r"-c 0: .*allowed: 1-2,5-6"):
        cpus.plan(1, 0, oversubscribe=True)
