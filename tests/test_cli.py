"""Bad input to ``harness``: one line that names it and says what would be right, status 2, and nothing begun."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from harness import __main__
from harness.analysis import stats
from harness.cli import crosscheck
from harness.registry import ROOT, own
from harness.testbed import netns

VERSION_1 = str(Path(__file__).parent / "data" / "run-v1")
THERE_ARE = f"{own()[0].name}, {own()[1].name}"
ONE = ["compare", "--impls", "epoll_raw", "--testbed", "loopback"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run the command in this process; returns its status, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

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
        (["compare", "--idle", "-1"], "'-1' is not a number from 0 to 60000"),
        (["compare", "--budget", "fast"], "'fast' is not a time"),
        (["compare", "--budget", "0s"], "'0s' is not a time"),
        (["compare", "--slice", "2h"], "'2h' is not a time"),
        (["compare", "--seed", "-1"], "'-1' is not a number from 0 to 4294967295"),
        (["compare", "--workers", "9" * 5000], "is not a number from 1"),
        (["compare", "--json", ""], "an empty text names no file"),
        (
            ["compare", "--impls", "epoll_raw", "--slice", "60s", "--budget", "1s"],
            "--budget 1s: 3 cells x 1 implementation x 6 rounds of 60s",
        ),
        (["compare", "--json", "/nosuch/file"], "--json /nosuch/file: cannot be written"),
        (["compare", "--out", "/dev/null/x"], "/dev/null/x: cannot be made"),
        (["compare", "--nosuch"], "--nosuch"),
        ([*ONE, "--server-cpus", "8000"], "--server-cpus 8000: this process may not use CPU 8000; choose from "),
        ([*ONE, "--client-cpus", "8000"], "--client-cpus 8000: this process may not use CPU 8000"),
        ([*ONE, "--backend-cpus", "8000"], "--backend-cpus 8000: this process may not use CPU 8000"),
        ([*ONE, "--server-cpus", "one"], "'--server-cpus': 'one' names no CPUs"),
        ([*ONE, "--precision", "0"], "'--precision': '0' is not a share from 0.1% to 50%, as in 2%"),
        ([*ONE, "--blocks", "0"], "'--blocks': '0' is not a number from 1 to 1000"),
        ([*ONE, "--rate", "0"], "'--rate': '0' is not a number from 1"),
        ([*ONE, "--client", "ab", "--rate", "5"], "--client ab: it has no open loop; leave --rate out"),
        (
            [*ONE, "--client", "ab", "--slice", "50ms"],
            "--slice 0.05s: ab takes turns of whole seconds; give 1s, 2s or more",
        ),
        ([*ONE, "--client", "curl"], "'--client': 'curl' is not one of"),
        ([*ONE, "--testbed", "moon"], "'--testbed': 'moon' is not one of"),
        (["compare", "--resume", VERSION_1, "--impls", "x"], "--impls: not beside --resume"),
        (["compare", "--resume", VERSION_1, "--lean"], "--lean: not beside --resume"),
        (["compare", "--resume", VERSION_1, "--budget", "60s"], "--budget: not beside --resume"),
        (["compare", "--resume", VERSION_1], "--out: not beside --resume"),
        (["selftest", "--parts", "some"], "'some' is not one of same, difference, limits"),
        (["selftest", "--runs", "0"], "'--runs': '0' is not a number from 1 to 1000"),
        (["selftest", "--testbed", "loopback", "--server-cpus", "8000"], "--server-cpus 8000: this process may not"),
        (["crosscheck", "--testbed", "loopback", "--client-cpus", "8000"], "--client-cpus 8000: this process may not"),
        (["conform", "--case", "NO-SUCH"], "NO-SUCH"),
        (["conform", "--impls", ""], "''"),
        (["report"], "RUN"),
        (["report", "/nosuch"], "/nosuch: not a folder of results"),
        (["explain", VERSION_1, "nosuch"], "nosuch: no such cell in this run; choose from short/w1/c20, keepalive/"),
        (["explain", VERSION_1, "short", "--impl", "x"], "--impl x: did not take part; these did: epoll_raw, trio"),
        (["explain", "/nosuch", "short"], "/nosuch: not a folder of results"),
        (["diff", VERSION_1, "/nosuch"], "/nosuch: not a folder of results"),
        (["diff", VERSION_1, VERSION_1, "--reference", "x"], "--reference x: was not measured in both runs"),
        (["diff", VERSION_1, VERSION_1, "--fail-if-slower", "much"], "'much' is not a share from 0.1% to 1000%"),
        (["torture"], "torture: one program at a time; give --impl NAME or --external NAME='COMMAND'"),
        (["torture", "--impl", "epoll_raw,trio"], "torture: one program at a time"),
        (["torture", "--impl", "nosuch"], f"--impl 'nosuch': unknown; there are {THERE_ARE}, "),
        (["torture", "--impl", "trio", "--for", "1s"], "'1s' is not a time from 2s to 86400s"),
        (["soak", "--connections", "0"], "'0' is not a number from 1 to 1000000000"),
        (["soak", "--workload", "some"], "'some' is not one of"),
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


def test_a_testbed_that_cannot_be_made_is_refused(
    harness: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cannot(*, with_backend: bool) -> NoReturn:
        raise netns.CannotBuild(f"not with a backend: {with_backend}")

    monkeypatch.setattr(netns, "build", cannot)
    status, _, errors = harness("compare", "--impls", "epoll_raw", "--testbed", "netns", "--out", str(tmp_path))
    assert status == 2
    assert errors.startswith("harness: error: --testbed netns: network namespaces cannot be made here: not with a")
    assert errors.endswith("or give --testbed loopback\n")
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", [False, True])
def test_a_run_of_an_earlier_version_is_not_gone_on_with(harness: Command, tmp_path: Path, *, broken: bool) -> None:
    run = tmp_path / "run"
    shutil.copytree(VERSION_1, run)
    if broken:
        (run / "plan.json").write_text("{}")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    status, output, errors = harness("compare", "--resume", str(run))
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert (f"--resume {run}: has schema 1, and only schema 2 can go on; begin a new run" in errors) != broken
    assert str(run) in errors
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


NO_RUN = "harness: error: /nosuch: not a folder of results; name the folder of one run, which has a plan.json in it\n"


def test_what_is_no_run_is_not_gone_on_with(harness: Command) -> None:
    assert harness("compare", "--resume", "/nosuch") == (2, "", NO_RUN)


def test_no_command_shows_where_to_begin(harness: Command) -> None:
    status, output, errors = harness()
    assert (status, errors) == (0, "")
    assert "harness compare" in output


@pytest.mark.parametrize("command", ["compare", "conform", "report", "explain", "diff", "crosscheck", "selftest"])
def test_help(harness: Command, command: str) -> None:
    status, output, errors = harness(command, "--help")
    assert (status, errors) == (0, "")
    assert output.startswith(f"Usage: harness {command}")


def test_version(harness: Command) -> None:
    status, output, _ = harness("--version")
    assert status == 0
    assert "0.1.0" in output


HEAVY = {"altair", "jinja2", "numpy", "prometheus_client", "pyarrow", "pyroute2", "scipy", "vl_convert"}
"""What computes, draws and exports takes up to seconds to import: who does that imports it."""


def test_help_and_completion_are_there_at_once() -> None:
    load_all = "import sys, harness.cli as h; [h.cli.get_command(None, name) for name in h.cli.list_commands(None)]"
    looked = subprocess.run(
        [sys.executable, "-c", f"{load_all}; print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(looked.stdout.split())


def test_a_command_that_is_not_there_is_named_with_those_that_are_meant(harness: Command) -> None:
    assert harness("comprae") == (2, "", "harness: error: 'comprae': no such command; did you mean compare?\n")
    assert "'nosuch': no such command; choose from compare, " in harness("nosuch")[2]


def test_the_fewest_turns_of_a_crosscheck_are_those_that_give_an_interval() -> None:
    assert crosscheck.FEWEST_TURNS == stats.FEWEST_ROUNDS
