"""Bad input to ``harness``: one line that names it and says what would be right, status 2, and nothing begun."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import __main__

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run the command in this process; returns its status, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["compare", "--impls", "nosuch"], "'nosuch'"),
        (["compare", "--impls", "none"], "nothing to run"),
        (["compare", "--external", "nocommand"], "NAME='COMMAND'"),
        (["compare", "--reference", "nosuch"], "--reference nosuch: does not take part"),
        (["compare", "--workloads", "short,long"], "'long' is not one of short, keepalive, proxy"),
        (["compare", "--workers", "0"], "'0' is not a number from 1"),
        (["compare", "--workers", "4096"], "--workers 4096"),
        (["compare", "--concurrency", "1e3"], "'1e3' is not a number from 1"),
        (["compare", "--budget", "fast"], "'fast' is not a time"),
        (["compare", "--budget", "0s"], "'0s' is not a time"),
        (["compare", "--slice", "2h"], "'2h' is not a time"),
        (["compare", "--seed", "-1"], "'-1' is not a number from 0 to 4294967295"),
        (["compare", "--workers", "9" * 5000], "is not a number from 1"),
        (["compare", "--json", ""], "an empty text names no file"),
        (["compare", "--slice", "60s", "--budget", "1s"], "--budget 1s: 3 cells x 4 implementations x 6 rounds of 60s"),
        (["compare", "--json", "/nosuch/file"], "--json /nosuch/file: cannot be written"),
        (["compare", "--out", "/dev/null/x"], "/dev/null/x: cannot be made"),
        (["compare", "--nosuch"], "--nosuch"),
        (["conform", "--case", "NO-SUCH"], "NO-SUCH"),
        (["conform", "--impls", ""], "''"),
        (["report"], "RUN"),
        (["report", "/nosuch"], "/nosuch: not a folder of results"),
        (["nosuch"], "nosuch"),
    ],
)
def test_bad_input(harness: Command, arguments: list[str], named: str, tmp_path: Path) -> None:
    if arguments[0] == "compare" and "--out" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path)]
    status, _, errors = harness(*arguments)
    assert status == 2
    assert errors.startswith("harness: error: ")
    assert errors.count("\n") == 1
    assert named in errors
    assert not list(tmp_path.iterdir())


def test_no_command_shows_where_to_begin(harness: Command) -> None:
    status, output, errors = harness()
    assert (status, errors) == (0, "")
    assert "harness compare" in output


@pytest.mark.parametrize("command", ["compare", "conform", "report"])
def test_help(harness: Command, command: str) -> None:
    status, output, errors = harness(command, "--help")
    assert (status, errors) == (0, "")
    assert output.startswith(f"Usage: harness {command}")


def test_version(harness: Command) -> None:
    status, output, _ = harness("--version")
    assert status == 0
    assert "0.1.0" in output
