"""README's picture: it is there, and the stored run that it is of still makes the page."""

import re
from html import unescape
from pathlib import Path

from harness.registry import ROOT
from tests import picture
from tests.commands import run

_PNG = b"\x89PNG\r\n\x1a\n"
_SIZE_AT = 16
_A_FOLDER = re.compile(r'"/(?:home|root|tmp|usr|opt|srv|work)/[^"]*')


def test_the_stored_run_makes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    picture.make_page(page)
    text = unescape(page.read_text(encoding="utf-8"))
    assert "<svg" in text
    figures = re.findall(r"\d+\.\d{3}", run("report", picture.REFERENCE).out)
    assert figures
    assert [figure for figure in figures if figure not in text] == []


def test_the_stored_run_tells_nothing_of_the_folders_it_was_made_in() -> None:
    for file in picture.REFERENCE.iterdir():
        assert _A_FOLDER.findall(file.read_text(encoding="utf-8")) == []


def test_readme_shows_the_picture_which_has_the_size_told() -> None:
    assert "](docs/report.png)" in (ROOT / "README.md").read_text(encoding="utf-8")
    data = picture.PICTURE.read_bytes()
    assert data.startswith(_PNG)
    assert int.from_bytes(data[_SIZE_AT : _SIZE_AT + 4]) == picture.WIDTH
    assert len(data) <= picture.MOST_BYTES
