"""Documentation that is true: the commands it shows can be typed today, and what it links to is there."""

import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest

from harness import preload
from harness.cli import SECTIONS
from harness.cli.ending import STATUSES
from harness.registry import ROOT
from harness.schema import Library
from tests import shown_commands
from tests.commands import run

_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
PLACES = ("*.md", "docs/*.md", "impls/*/*.md", "results/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])


@each_document
def test_each_command_is_one_of_today(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(text: str) -> Library:
        return Library(name="library", path=text, size_bytes=1, sha256="0" * 64)

    monkeypatch.setattr(preload, "describe", describe)
    for command in shown_commands.in_blocks(path):
        shown_commands.parse(command)
    for command in shown_commands.in_text(path):
        with suppress(click.MissingParameter):
            shown_commands.parse(command)


@each_document
def test_what_it_links_to_is_there(path: Path) -> None:
    missing = [target for target in _LINK.findall(path.read_text()) if not (path.parent / target).exists()]
    assert not missing


def test_each_document_is_in_the_list_of_documents() -> None:
    for place, prefix in (("README.md", "docs/"), ("docs/README.md", "")):
        listed = (ROOT / place).read_text()
        pages = [path.name for path in DOCUMENTS if path.parent.name == "docs" and path.name != "README.md"]
        assert [name for name in pages if f"]({prefix}{name})" not in listed] == []


def test_the_readme_lists_commands_and_exit_statuses_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = [f"| `harness {one.name}` | {one.summary} |" for section in SECTIONS for one in section.commands]
    statuses = [f"| {status} | {meaning} |" for status, meaning in STATUSES.items()]
    for rows in (commands, statuses):
        assert "\n".join(rows) in readme


def test_every_command_has_an_example_among_those_of_all() -> None:
    shown = {
        shown_commands.arguments(command)[0] for command in shown_commands.in_blocks(ROOT / "docs" / "commands.md")
    }
    assert [one.name for section in SECTIONS for one in section.commands if one.name not in shown] == []


def test_both_lists_of_documents_are_the_same() -> None:
    readme, docs = ((ROOT / place).read_text() for place in ("README.md", "docs/README.md"))
    rows = [
        re.sub(r"\[(.*)\]\((.*)\)", r"[docs/\1](docs/\2)", line) for line in docs.splitlines() if line.startswith("| ")
    ]
    assert "\n".join(rows) in readme


def test_the_program_that_the_page_begins_with_does_what_the_page_says(
    tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "your-own-program.md").read_text()
    found = re.search(r"^```c\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    (tmp_path / "mine.c").write_text(found[1])
    assert f"{found[1].count(chr(10))} lines of C" in page
    compiler = tool("gcc", "gcc libc6-dev")
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", "mine", "mine.c"], cwd=tmp_path, check=True)
    mine = ["--impls", "none", "--external", f"mine={tmp_path / 'mine'}"]
    kept = run("conform", *mine, "--case", "REPLY-BYTES", "--case", "KEEP-MANY")
    assert (kept.status, "mine: 2 of 2 obligations kept" in kept.out) == (0, True), kept.out + kept.err
    assert run("conform", *mine, "--case", "REPLY-LARGE-REQUEST").status == 1
