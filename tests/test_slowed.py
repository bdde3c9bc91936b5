"""The generator that is slowed on purpose."""

import itertools
import os
import time

import pytest

from harness.loadgen.slowed import slow_down


def test_a_slowed_generator_takes_a_share_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    work_ns = 0

    def cpu_ns() -> int:
        return next(clock) + work_ns

    def read(_fd: int, size: int, /) -> bytes:
        return bytes(size)

    monkeypatch.setattr(os, "read", read)
    monkeypatch.setattr(time, "thread_time_ns", cpu_ns)
    slow_down(50)
    for times in range(1, 4):
        work_ns += 1000
        assert os.read(0, 3) == bytes(3)
        assert 1500 * times <= cpu_ns() <= 1510 * times
