"""A run that version 1 stored stays readable: its files are in tests/data/run-v1."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness import compare, stored
from harness.analysis.comparison import compare as sum_up
from harness.results import load

VERSION_1 = Path(__file__).parent / "data" / "run-v1"


def test_it_gives_the_figures_that_it_gave_then() -> None:
    run = load(VERSION_1)
    assert run.summary is not None
    assert (run.plan.schema, run.summary.schema, run.environment.schema) == (1, 1, 1)
    assert run.environment_after is None
    assert run.environment.kernel == "6.18.44-fc-v669"
    again = sum_up(run.plan, run.slices, run.histograms)
    figures = [(entry.cell.key, entry.impl, entry.ratio, entry.cpu_ratio, entry.latency_us) for entry in again.cells]
    assert figures == [
        (entry.cell.key, entry.impl, entry.ratio, entry.cpu_ratio, entry.latency_us) for entry in run.summary.cells
    ]
    assert run.summary.cells[1].ratio.value == pytest.approx(0.982, abs=5e-4)


def test_every_command_on_stored_runs_takes_it() -> None:
    text = StringIO()
    output = Console(file=text, width=120)
    compare.show(VERSION_1, output)
    assert "0.903–1.071" in text.getvalue()  # noqa: RUF001  an en dash
    stored.explain(VERSION_1, "short", None, output)
    assert "short/w1/c20: 1 worker, 20 connections; loopback, server on CPU 0, generator on CPU 1" in text.getvalue()
    assert text.getvalue().count("context switches    not observed") == 2
    assert stored.diff(VERSION_1, VERSION_1, output, reference=None, fail_if_slower=0.001, json_file=None)
    assert "no change is shown in 3 of 3 comparisons" in text.getvalue()
