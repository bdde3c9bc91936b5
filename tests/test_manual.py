"""What every command says of itself: help, examples that work, exit statuses that are the same everywhere."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness.cli import HELP_WIDTH, SECTIONS, cli, start
from harness.cli.ending import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, STATUSES
from harness.cli.lazy_group import Listed
from harness.cli.manual import Documented, Example
from harness.registry import ROOT
from tests import shown_commands
from tests.commands import run

RUN = Path(__file__).parent / "data" / "run-v1"
LISTED = [one for section in SECTIONS for one in section.commands]
RUNS_NOTHING = {"report", "explain", "diff", "export"}
DRAWS = {"--html", "--svg"}
"""What takes seconds, and has tests of its own."""
each_command = pytest.mark.parametrize("listed", LISTED, ids=[one.name for one in LISTED])


def documented(listed: Listed) -> Documented:
    command = listed.load()
    assert isinstance(command, Documented), f"{listed.name} has no manual"
    return command


@each_command
def test_help_has_all_that_a_manual_has(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = run(listed.name, "--help")
    assert (said.status, said.err) == (EXIT_DONE, "")
    usage, nothing, summary, *rest = said.out.splitlines()
    assert usage.startswith(f"Usage: harness {listed.name} ")
    assert (nothing, summary) == ("", f"  {listed.summary}")
    assert "Examples:" in rest
    assert rest[rest.index("Exit status:") + 1].split() == ["0", "done"]
    assert any(line.strip() == example.command for example in documented(listed).manual.examples for line in rest)


def test_the_list_of_commands_is_in_sections_of_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("--help").out.splitlines()
    for section in SECTIONS:
        first = lines.index(f"{section.title}:") + 1
        shown = [line.split(maxsplit=1) for line in lines[first : first + len(section.commands)]]
        assert shown == [[one.name, one.summary] for one in section.commands]
    for status, meaning in STATUSES.items():
        assert any(line.split()[:2] == [str(status), meaning.split()[0]] for line in lines)


def test_help_takes_no_more_than_a_sensible_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for listed in LISTED:
        commands = {example.command for example in documented(listed).manual.examples}
        lines = run(listed.name, "--help").out.splitlines()
        assert not [line for line in lines if len(line) > HELP_WIDTH and line.strip() not in commands]


def test_no_command_says_where_to_start() -> None:
    said = run()
    assert (said.status, said.err) == (EXIT_DONE, "")
    assert [said.out.index(f"{example.command}\n") for example in start.START] == sorted(
        said.out.index(f"{example.command}\n") for example in start.START
    )


@pytest.mark.parametrize(
    "example",
    [*start.START, *(example for listed in LISTED for example in documented(listed).manual.examples)],
    ids=lambda example: example.command,
)
def test_an_example_works(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run nothing are run on a stored run, the others parsed."""
    shown_commands.parse(example.command)
    name, *rest = shown_commands.arguments(example.command)
    if name in RUNS_NOTHING and not DRAWS & set(rest):
        monkeypatch.chdir(tmp_path)
        for stored in ("RUN", "OLD", "NEW"):
            shutil.copytree(RUN, tmp_path / "results" / stored)
        said = run(name, *rest)
        assert (said.status, said.err) == (EXIT_DONE, "")
        assert Path(rest[rest.index("--out") + 1]).stat().st_size if "--out" in rest else said.out


@each_command
def test_what_a_manual_refers_to_is_there(listed: Listed) -> None:
    for other in documented(listed).manual.see_also:
        program, _, name = other.partition(" ")
        assert cli.get_command(click.Context(cli), name) if program == "harness" else (ROOT / other).is_file(), other


@each_command
def test_an_unknown_option_is_told_in_one_line_with_the_one_that_is_meant(listed: Listed) -> None:
    said = run(listed.name, "--hlep")
    assert said.is_one_line_of_error
    assert "--help" in said.err


def test_manual_pages_are_ones_that_man_can_set(tool: Callable[[str, str], str], tmp_path: Path) -> None:
    groff = tool("groff", "groff")
    for name in ["", *(one.name for one in LISTED)]:
        said = run("man", *([name] if name else []))
        assert (said.status, said.err) == (EXIT_DONE, "")
        (tmp_path / f"{name or 'all'}.1").write_text(said.out)
    pages = sorted(tmp_path.iterdir())
    checked = subprocess.run(
        [groff, "-man", "-ww", "-Tutf8", "-rHY=0", *pages], capture_output=True, text=True, check=True
    )
    assert checked.stderr == ""
    set_text = " ".join(checked.stdout.split())
    for listed in LISTED:
        assert listed.summary.rstrip(".")[1:] in set_text
        assert f" harness {listed.name} " in set_text


@pytest.mark.parametrize("arguments", [["--help"], ["report", str(RUN)]])
def test_output_that_cannot_be_written_is_told(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == EXIT_FAILED
    assert ended.stderr == "harness: error: standard output: cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (f"report {RUN} | head -1", EXIT_DONE),
        ("--help >&-", EXIT_DONE),
        ("--help 2>&-", EXIT_DONE),
        ("--nosuch >&- 2>&-", EXIT_BAD_INPUT),
    ],
)
def test_output_that_nobody_wants_is_no_failure(tool: Callable[[str, str], str], command: str, status: int) -> None:
    script = f"set -o pipefail; {sys.executable} -m harness {command}"
    ended = subprocess.run([tool("bash", "bash"), "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (status, "")
