"""What docs/adding-an-implementation.md shows is what there is: the beginning is run, the rest is in impls/asyncio.

Of the obligations that the beginning keeps and breaks a sample is tried, since all of them take most of a minute: how
many it keeps is reckoned from the table of those that it breaks.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from textwrap import dedent

import pytest

from harness import registry
from harness.cli.ending import EXIT_FAILED
from harness.conformance import CASES
from tests import shown_commands
from tests.commands import run

ROOT = registry.ROOT
DOCUMENT = ROOT / "docs" / "adding-an-implementation.md"
TEXT = DOCUMENT.read_text()
OBLIGATIONS = {case.id for case in CASES}
KEPT = ("REPLY-BYTES", "KEEP-MANY")
"""Of those that the beginning keeps, some that are soon checked."""
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def shown() -> Iterator[tuple[str, str]]:
    """Yield each block of code with the file that was named last before it."""
    for block in _BLOCK.finditer(TEXT):
        files = re.findall(r"`(impls/(?:mine|asyncio)/\w+\.py)`", TEXT[: block.start()])
        yield files[-1], block[1]


def broken_rows() -> list[list[str]]:
    """Return the obligations of each row of the table of what the beginning breaks, as they are written."""
    table = TEXT.split("| broken | why |")[1].split("\n\n")[0]
    return [re.findall(r"`([A-Z0-9*-]{4,})`", row.split("|")[1]) for row in table.splitlines()[2:]]


BROKEN = {one for row in broken_rows() for written in row for one in OBLIGATIONS if fnmatch(one, written)}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the harness find the shared files and, beside them, what the document says to write; nothing else."""
    (tmp_path / "impls" / "mine").mkdir(parents=True)
    for shared in (ROOT / "impls").glob("*.py"):
        shutil.copy(shared, tmp_path / "impls")
    for file, code in shown():
        if file.startswith("impls/mine/"):
            (tmp_path / file).write_text(code)
    monkeypatch.setattr(registry, "ROOT", tmp_path)


@pytest.mark.usefixtures("mine")
def test_the_beginning_keeps_and_breaks_what_is_said_of_it() -> None:
    command = ".venv/bin/harness conform --impls mine"
    assert f"    {command}\n" in TEXT
    broken = [row[0] for row in broken_rows()]
    cases = [word for case in (*KEPT, *broken) for word in ("--case", case)]
    said = run(*shown_commands.arguments(command), *cases)
    assert said.status == EXIT_FAILED
    rows = [line.split() for line in said.out.splitlines()]
    outcomes = {row[0]: row[1] for row in rows if row and row[0] in OBLIGATIONS}
    assert outcomes == {**dict.fromkeys(KEPT, "ok"), **dict.fromkeys(broken, "FAILED")}


@pytest.mark.usefixtures("mine")
def test_the_beginning_passes_the_rules_for_code(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        said = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "impls/mine"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not said.returncode, said.stdout


def test_what_is_said_to_be_broken_and_kept_is_all_there_is() -> None:
    assert all(any(fnmatch(one, written) for one in OBLIGATIONS) for row in broken_rows() for written in row)
    assert not BROKEN & set(KEPT)
    told = re.search(r"keeps (\d+) of (\d+) obligations", TEXT)
    assert told
    assert (int(told[1]), int(told[2])) == (len(OBLIGATIONS - BROKEN), len(OBLIGATIONS))
    assert f"all {len(OBLIGATIONS)} obligations are kept" in TEXT


@pytest.mark.parametrize(("file", "code"), [one for one in shown() if not one[0].startswith("impls/mine/")])
def test_what_is_shown_of_asyncio_stands_there(file: str, code: str) -> None:
    ast.parse(dedent(code))  # whole statements
    assert f"\n{code}" in (ROOT / file).read_text()


def test_obligations_and_files_that_are_named_are_there() -> None:
    for named in re.findall(r"`([A-Z]+-[A-Z-]+)`", TEXT):
        assert named in OBLIGATIONS
    for named in re.findall(r"`(impls/(?!mine)[a-z_/]+\.py)`", TEXT):
        assert (ROOT / named).is_file()
