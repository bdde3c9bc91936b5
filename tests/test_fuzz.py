"""The fuzzer is guided by coverage, makes what it finds small, and every target takes its own examples."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.test_input_framing import read_in_pieces
from tests.fuzz import __main__ as command
from tests.fuzz import guided
from tests.fuzz.guided import Target, fuzz
from tests.fuzz.targets import TARGETS

TRIES = 20_000


def planted(data: bytes) -> None:
    """Fail on four bytes in a row, each of which is looked at on a line of its own."""
    if data[:1] != b"p":
        return
    if data[1:2] != b"l":
        return
    if data[2:3] != b"a":
        return
    if data[3:4] != b"n":
        return
    raise RuntimeError("found")


PLANTED = Target("planted", planted, [Path(__file__).name], [b"xxxxxxxx"], [b"p", b"l", b"a", b"n"])


def test_coverage_leads_to_a_failure_that_chance_does_not_find_and_it_is_made_small() -> None:
    found = fuzz(PLANTED, seed=1, for_s=60.0, most=TRIES)
    assert found.failure == "RuntimeError: found"
    assert found.smallest == b"plan"
    assert not fuzz(PLANTED, seed=1, for_s=60.0, most=found.tried, guided=False).failure


def loops(data: bytes) -> None:
    while b"l" in data:
        with suppress(Exception):
            len(data)


def test_a_target_that_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "LONGEST_RUN_S", 0.05)
    found = fuzz(Target("loops", loops, [Path(__file__).name], [b"x", b"xxlx"]), seed=1, for_s=60.0)
    assert found.failure == "TooLong: more than 0.05 s of CPU time"
    assert found.smallest == b"l"
    assert found.tried == 2


class Clock:
    """Goes on by a hundredth of a second whenever somebody looks, however long anything takes."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        self._now_s += 0.01
        return self._now_s


def test_slow_and_fast_targets_get_as_many_inputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(guided, "time", clock)
    monkeypatch.setattr(command, "time", clock)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--for", "3", "--seed", "1", "replies", "addresses"])
    assert command.main() == 0
    counts = re.findall(r"^\w+ +([\d,]+) inputs .* none failed$", capsys.readouterr().out, re.MULTILINE)
    tried = [int(count.replace(",", "")) for count in counts]
    assert len(tried) == 2
    assert max(tried) - min(tried) <= 20
    assert min(tried) > 100


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_examples_and_what_comes_of_them(name: str) -> None:
    target = TARGETS[name]
    found = fuzz(target, seed=2, for_s=60.0, most=len(target.seeds) + 40)
    assert not found.failure, found.smallest
    assert found.steps, "no line of what is fuzzed was seen: the names of its files are wrong"


def test_a_target_notices_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def loses_a_reply(stream: bytes, cuts: list[int]) -> object:
        return read_in_pieces(stream[:-1], cuts)

    monkeypatch.setattr("tests.fuzz.targets.read_in_pieces", loses_a_reply)
    found = fuzz(TARGETS["replies"], seed=3, for_s=60.0, most=500)
    assert found.failure.startswith("AssertionError")
