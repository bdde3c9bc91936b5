"""What a check of conformance looks like as text."""

import io

import pytest
from rich.console import Console

from harness.conformance.verdict import Verdict
from harness.report.conformance import ConformanceProgress, render

KEPT = Verdict("REPLY-BYTES", "this reply", "passed", "", 0.1)
BROKEN = Verdict("REPLY-BYTES", "this reply", "failed", "REPLY-BYTES: expected a, got b", 0.1)
ALSO_BROKEN = Verdict("RESET", "no harm", "failed", "RESET: expected a, got b", 0.1)
SKIPPED = Verdict("RESET", "no harm", "skipped", "RESET: no moon here", 0.1)


def test_the_report_has_a_grid_the_reasons_and_the_sums() -> None:
    lines = render({"one": [KEPT, SKIPPED], "two": [BROKEN, ALSO_BROKEN]}).splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["REPLY-BYTES", "ok", "FAILED", "this", "reply"],
        ["RESET", "skipped", "FAILED", "no", "harm"],
    ]
    assert "  two  REPLY-BYTES, RESET: expected a, got b" in lines
    assert "  one  RESET: no moon here" in lines
    assert "one: 1 of 2 obligations kept, 1 not checked" in lines
    assert "two: 0 of 2 obligations kept, 2 broken" in lines


def test_progress_tells_each_failure_once() -> None:
    output = io.StringIO()
    with ConformanceProgress(Console(file=output, width=200), {"one": 3, "two": 1}) as progress:
        for verdict in (KEPT, ALSO_BROKEN, BROKEN):
            progress.verdict("one", verdict)
    begun, *lines = output.getvalue().splitlines()
    assert begun == "Checking 3 obligations of one, 1 obligation of two: about half a minute for each on two CPUs"
    assert lines[:2] == ["one  FAILED  RESET: expected a, got b", "one  FAILED  REPLY-BYTES: the same"]
    assert lines[2].startswith("Obligations checked: one 3 of 3 (2 broken), two 0 of 1")
    assert len(lines) == 3


class OnTerminal(io.StringIO):
    """What a terminal gets."""

    def isatty(self) -> bool:
        """Be one."""
        return True


def test_a_file_that_is_to_have_colours_has_no_bars() -> None:
    output = io.StringIO()
    with ConformanceProgress(Console(file=output, width=80, force_terminal=True), {"one": 1}) as progress:
        progress.verdict("one", KEPT)
    assert output.getvalue().startswith("Checking 1 obligation of one")


@pytest.mark.parametrize("several", [2, 40])
def test_a_terminal_has_bars_that_fit_on_it(several: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    output = OnTerminal()
    names = [f"number{number}\x1b[2J" for number in range(several)]
    with ConformanceProgress(
        Console(file=output, width=80, height=24, force_terminal=True), dict.fromkeys(names, 2)
    ) as progress:
        for name in names:
            progress.verdict(name, KEPT)
            progress.verdict(name, BROKEN)
        assert progress._bars is not None
        progress._bars.refresh()
        shown = output.getvalue()
    assert ("2 of 2 obligations" in shown, "80 of 80 obligations" in shown) == (several == 2, several == 40)
    assert ("1 broken" if several == 2 else "40 broken") in shown
    assert "\x1b[2J" not in output.getvalue()
