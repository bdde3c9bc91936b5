"""Stored runs as a page, and their plots as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from harness import folded, results, stored
from harness.errors import BadInput
from harness.report.figures import show
from harness.report.web_page import Comparison, Profiled, Section, files, render

PAGE: Final = "report.html"
_KILOBYTE: Final = 1000


def make(runs: Sequence[Path], output: Console, *, page: Path | None, plots: Path | None) -> None:
    """Write the page into a file, and the plots into a folder, and tell where they are.

    Raises BadInput for a folder that is no run, and for what cannot be written; a page that was there is then kept.
    """
    if page is not None:
        results.check_apart(page)
    sections = [_read(run) for run in runs]
    if page is not None:
        text = render(sections).encode()
        results.write_file(page, text)
        show(output, f"{page}: {len(text) / _KILOBYTE:,.0f} kB")
    if plots is not None:
        for section, folder in zip(sections, _folders(runs, plots), strict=True):
            _write_plots(section, folder, output)


def _read(path: Path) -> Section:
    profile = results.load_profile(path)
    if profile is not None:
        stacks = {one.impl: folded.read(path, one.impl) for one in profile.implementations}
        return Profiled(path, profile, results.load_plan(path), results.load_environment(path), stacks)
    run = results.load(path)
    return Comparison(run, stored.sum_up(run))


def _folders(runs: Sequence[Path], into: Path) -> list[Path]:
    """Return a folder for each run's plots: that itself for one, else one called after each, numbered."""
    if len(runs) == 1:
        return [into]
    return [into / f"{number}-{run.resolve().name}" for number, run in enumerate(runs, 1)]


def _write_plots(section: Section, folder: Path, output: Console) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be made: {error.strerror}") from None
    drawn = files(section)
    for name, text in drawn.items():
        results.write_file(folder / name, text.encode())
    show(output, f"{folder}: {len(drawn)} plots")
