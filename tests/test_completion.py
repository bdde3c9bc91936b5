"""Completion: what is offered, and that bash, zsh and fish take it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import candidates, cli
from harness.cli.shells import SHELLS, Bash
from harness.registry import ROOT, own
from tests.commands import run

DATA = Path(__file__).parent / "data"
RUN = str(DATA / "run-v1")
CELLS = ["short/w1/c20", "keepalive/w1/c20", "proxy/w1/c20"]


def offered_for(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Ask as bash does; the last word is being typed."""
    monkeypatch.setenv("COMP_WORDS", "\n".join(["harness", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    lines = Bash(cli, {}, "harness", "_HARNESS_COMPLETE").complete().splitlines()
    return [line.removeprefix("plain,") for line in lines]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["comp"], ["compare", "completion"]),
        (["compare", "--wor"], ["--workloads", "--workers"]),
        (["compare", "--impls", "epoll_raw,uv"], ["epoll_raw,uvloop"]),
        (["compare", "--impls", "=", "epoll_raw,uv"], ["epoll_raw,uvloop"]),
        (["compare", "--impls", "uvloop+p"], ["uvloop+percpu"]),
        (["compare", "--impls", "uvloop+percpu+l"], ["uvloop+percpu+lean"]),
        (["compare", "--impls", "uvloop,epoll_raw+r"], ["uvloop,epoll_raw+reuseport"]),
        (["compare", "--impls", "al"], ["all"]),
        (["compare", "--impls", "uvloop,al"], []),
        (["compare", "--workloads", "short,"], ["short,keepalive", "short,proxy"]),
        (["compare", "--listen", "shared,r"], ["shared,reuseport"]),
        (["compare", "--testbed", "n"], ["netns"]),
        (["compare", "--plan", "plans/p"], ["plans/paper.toml"]),
        (["compare", "--plan", "plans/nosuch"], ["file,plans/nosuch"]),
        (["compare", "--plan", "plans/nosuch", "--testbed", "n"], ["netns"]),
        (["torture", "--impl", "ep"], ["epoll_raw"]),
        (["soak", "--impls", "ep"], ["epoll_raw"]),
        (["conform", "--case", "REPLY-B"], ["REPLY-BYTES"]),
        (["report", str(DATA / "run")], [RUN]),
        (["report", f"{DATA}/"], [RUN]),
        (["watch", str(DATA / "run")], [RUN]),
        (["export", str(DATA / "run")], [RUN]),
        (["compare", "--resume", str(DATA / "run")], [RUN]),
        (["diff", RUN, str(DATA / "run")], [RUN]),
        (["explain", RUN, ""], CELLS),
        (["explain", RUN, "short", "--impl", "t"], ["trio"]),
        (["completion", ""], list(SHELLS)),
        (["explain", "/dev/zero", ""], []),
        (["explain", "/nosuch", "x", "--impl", ""], []),
        (["nosuch", "x"], []),
    ],
)
def test_what_is_offered(monkeypatch: pytest.MonkeyPatch, words: list[str], offered: list[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert offered_for(monkeypatch, *words) == offered


def test_all_implementations_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.name for one in own()} < set(offered_for(monkeypatch, "compare", "--impls", ""))


def test_runs_in_the_folder_of_results_are_offered_with_the_newest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("20260101T000000Z-1", "20260102T000000Z-1", "no-run", "\x1b[2J", "* *"):
        (tmp_path / "results" / name).mkdir(parents=True)
        if name != "no-run":
            (tmp_path / "results" / name / "plan.json").touch()
    assert offered_for(monkeypatch, "report", "res") == ["results/20260102T000000Z-1", "results/20260101T000000Z-1"]


def test_network_devices_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("lo", "eth0", "eth1", "wlan0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(candidates, "DEVICES", tmp_path)
    assert offered_for(monkeypatch, "tune", "--nic", "e") == ["eth0", "eth1"]
    assert offered_for(monkeypatch, "doctor", "--nic", "") == ["eth0", "eth1", "wlan0"]


def test_an_unknown_shell_is_refused() -> None:
    assert run("completion", "tcsh").is_one_line_of_error


_WORDS = "(harness compare --impls epoll_raw,uv)"
_COMPLETE = {
    "bash": f"COMP_WORDS={_WORDS}; COMP_CWORD=3; _harness_completion; echo ${{COMPREPLY[@]}}",
    # Where there is no terminal zsh has no completion system; these are all of it that the script calls.
    "zsh": f"compadd() {{ echo $completions; }}; words={_WORDS}; CURRENT=4; _harness_completion; "
    "words=(harness compare --impls=epoll_raw,uv); CURRENT=3; _harness_completion; "
    "compset() { echo $*; }; _path_files() { echo files; }; "
    "words=(harness compare --plan=plan); CURRENT=3; _harness_completion",
    "fish": "for words in '--impls epoll_raw,uv' --impls=epoll_raw,uv --plan=scr; "
    'complete --do-complete "harness compare $words"; end',
}  # fmt: skip
_COMPLETED = {
    "bash": ["epoll_raw,uvloop"],
    "zsh": ["epoll_raw,uvloop", "--impls=epoll_raw,uvloop", "-P 1 --*=", "files"],
    "fish": ["epoll_raw,uvloop", "--impls=epoll_raw,uvloop", "--plan=script"],
}


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_shell_completes_wherever_it_is(tool: Callable[[str, str], str], tmp_path: Path, shell: str) -> None:
    program = tool(shell, shell)
    made = subprocess.run(
        [sys.executable, "-m", "harness", "completion", shell], cwd=ROOT, capture_output=True, text=True, check=True
    )
    script = tmp_path / "script"
    script.write_text(made.stdout)
    before = "compdef() { :; }; " if shell == "zsh" else ""
    asked = subprocess.run(
        [program, "-c", f"{before}. {script}; {_COMPLETE[shell]}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (asked.stdout.splitlines(), asked.stderr) == (_COMPLETED[shell], "")


def test_a_harness_that_has_moved_away_prints_nothing_into_the_prompt(
    tool: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no harness, which the script takes for the one that made it
    made = run("completion", "bash").out
    assert str(tmp_path / "harness") in made
    asked = subprocess.run(
        [tool("bash", "bash"), "-c", f"{made}\n{_COMPLETE['bash']}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stderr == ""
