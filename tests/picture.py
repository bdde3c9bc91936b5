"""The README's picture, docs/report.png, of the stored run in results/reference: ``python -m tests.picture [RUN]``.

RUN is the folder of another run, which becomes the stored one first, without what tells of this machine's folders.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import FloatRect, sync_playwright
from rich.console import Console

from harness import pages, results
from harness.registry import ROOT

REFERENCE: Final = ROOT / "results" / "reference"
PICTURE: Final = ROOT / "docs" / "report.png"
WIDTH: Final = 1000
"""Pixels of the window, and of the picture: twice as many would be 0.6 MB."""
MOST_BYTES: Final = 300_000
_LAST: Final = ".cell figure >> nth=1"
"""What is at the bottom: the first two plots, which stand side by side."""
_MARGIN: Final = 24
LONGEST_MS: Final = 120_000
_FILES: Final = (
    results.PLAN, results.ENVIRONMENT, results.ENVIRONMENT_AFTER, results.SUMMARY, results.SLICES, results.HISTOGRAMS,
)  # fmt: skip
_FOLDERS: Final = {sys.prefix: ".venv", str(ROOT): "."}


def keep(run: Path) -> None:
    """Make a run the stored one."""
    REFERENCE.mkdir(exist_ok=True)
    for name in _FILES:
        text = (run / name).read_text(encoding="utf-8")
        for folder, stands_for in _FOLDERS.items():
            text = text.replace(folder, stands_for)
        (REFERENCE / name).write_text(text, encoding="utf-8")


def make_page(file: Path) -> None:
    """Make the page of the stored run."""
    pages.make([REFERENCE], Console(quiet=True), page=file, plots=None)


def take(page: Path, picture: Path) -> None:
    """Take the top of a page: the verdict, the ratios of all cells, and the first plots."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox"],
            timeout=LONGEST_MS,
        )
        try:
            shown = browser.new_page(viewport={"width": WIDTH, "height": WIDTH}, color_scheme="light")
            shown.set_default_timeout(LONGEST_MS)
            shown.goto(page.as_uri())
            bottom = shown.locator(_LAST).evaluate("(one) => Math.ceil(one.getBoundingClientRect().bottom)")
            clip: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": bottom + _MARGIN}
            shown.screenshot(path=picture, full_page=True, clip=clip, animations="disabled")
        finally:
            browser.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        keep(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as made:
        page = Path(made) / "report.html"
        make_page(page)
        take(page, PICTURE)
