"""Documentation that is true: the commands it shows can be typed today, and what it links to is there."""

import re
from pathlib import Path

import pytest

from harness import preload
from harness.registry import ROOT
from harness.schema import Library
from tests import shown_commands

_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
PLACES = ("*.md", "docs/*.md", "impls/*/*.md", "results/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])


@each_document
def test_each_command_is_one_of_today(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(text: str) -> Library:
        return Library(name="library", path=text, size_bytes=1, sha256="0" * 64)

    monkeypatch.setattr(preload, "describe", describe)
    for command in shown_commands.in_markdown(path):
        shown_commands.parse(command)


@each_document
def test_what_it_links_to_is_there(path: Path) -> None:
    missing = [target for target in _LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not missing
