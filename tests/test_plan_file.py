"""Plans as files: each option has its key, the file says what the command line says, and what is wrong has its line."""

import _ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness import versions
from harness.cli.compare import compare
from harness.cli.scale import scale
from harness.plan_file import NO_KEYS, keys
from harness.registry import ROOT, own
from tests.commands import run

PLANS = sorted((ROOT / "plans").glob("*.toml"))
LIBRARY = f"x={_ctypes.__file__}"
ENDS_WITHIN_S = 400.0

SAID_TWICE = {
    "impls": ("['epoll_raw', 'trio']", "--impls epoll_raw,trio"),
    "external": ("'a=true'", "--external a=true"),
    "listen": ("['shared', 'percpu']", "--listen shared,percpu"),
    "lean": ("true", "--lean"),
    "preload": (f"['{LIBRARY}']", f"--preload {LIBRARY}"),
    "reference": ("'trio'", "--reference trio"),
    "workloads": ("[\n  'short', # first\n  'proxy',\n]", "--workloads short,proxy"),
    "workers": ("[1, 2]", "--workers 1,2"),
    "concurrency": ("200", "--concurrency 200"),
    "rate": ("'1000,2000'", "--rate 1000,2000"),
    "idle": ("[0, '9900']", "--idle 0,9900"),
    "testbed": ('"netns"', "--testbed netns"),
    "server-cpus": ("'0-1'", "--server-cpus 0-1"),
    "client-cpus": ("[1, 2]", "--client-cpus 1,2"),
    "backend-cpus": ("3", "--backend-cpus 3"),
    "rfs": ("true", "--rfs"),
    "client": ("'wrk'", "--client wrk"),
    "budget": ('"2m"', "--budget 2m"),
    "precision": ("1.5", "--precision 1.5%"),
    "slice": ("0.1", "--slice 100ms"),
    "blocks": ("3", "--blocks 3"),
    "seed": ("7", "--seed 7"),
    "out": ("'there'", "--out there"),
    "json": ("'there.json'", "--json there.json"),
}
"""What a plan says, and what the command line says instead."""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "x.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parsed(command: click.Command, *arguments: str) -> dict[str, object]:
    """Return what a command would be given."""
    values = command.make_context(command.name, list(arguments)).params
    del values["plan"]
    return values


def test_every_option_of_compare_has_its_key() -> None:
    options = {name.removeprefix("--") for option in compare.params for name in option.opts if name.startswith("--")}
    assert keys(compare).keys() == options - NO_KEYS
    assert options & NO_KEYS == {"plan", "resume", "dry-run", "quiet"}
    assert keys(compare).keys() == SAID_TWICE.keys()


@pytest.mark.parametrize("key", SAID_TWICE)
def test_a_plan_says_what_the_command_line_says(key: str, tmp_path: Path) -> None:
    value, arguments = SAID_TWICE[key]
    plan = write(tmp_path, f"{key} = {value}\n")
    found = parsed(compare, "--plan", str(plan))
    assert found == parsed(compare, *arguments.split())
    assert found != parsed(compare)


def test_a_plan_says_all_of_it_and_the_command_line_instead_of_it(tmp_path: Path) -> None:
    plan = str(write(tmp_path, "".join(f"{key} = {value}\n" for key, (value, _) in SAID_TWICE.items())))
    everything = [one for _, arguments in SAID_TWICE.values() for one in arguments.split()]
    assert parsed(compare, "--plan", plan) == parsed(compare, *everything)
    assert parsed(compare, "--seed", "8", "--plan", plan, "--workers", "4") == parsed(
        compare, *everything, "--seed", "8", "--workers", "4"
    )


def test_what_is_false_is_not_asked_for(tmp_path: Path) -> None:
    plan = write(tmp_path, "lean = false\n")
    assert parsed(compare, "--plan", str(plan)) == parsed(compare)


def test_scale_takes_its_own_options(tmp_path: Path) -> None:
    plan = write(tmp_path, "workers = '1..4'\nconcurrency = 20\n")
    assert parsed(scale, "--plan", str(plan)) == parsed(scale, "--workers", "1..4", "--concurrency", "20")
    said = run("scale", "--plan", write(tmp_path, "precision = '1%'\n"))
    assert said.status == 2
    assert f"{tmp_path}/x.toml:1: unknown key 'precision' for harness scale; " in said.err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n# x\n\nbudgt = 1\n", "4: unknown key 'budgt' for harness compare; did you mean 'budget'?"),
        ("Server_CPUs = '0'\n", "1: unknown key 'Server_CPUs' for harness compare; did you mean 'server-cpus'?"),
        ("slice_s = '1s'\n", "1: unknown key 'slice_s' for harness compare; did you mean 'slice'?"),
        ("resume = 'x'\n", "1: unknown key 'resume' for harness compare; give --resume to harness compare itself"),
        ("plan = 'x'\n", "1: unknown key 'plan' for harness compare; give --plan to harness compare itself"),
        ("seed = 1\nworkloads = 'shrt'\n", "2: workloads: 'shrt' is not one of short, keepalive, proxy"),
        ("workloads = [\n 'short',\n 'shrt']\n", "1: workloads: 'shrt' is not one of short, keepalive, proxy"),
        ("note = '''\nbudget = 1\n'''\n", "1: unknown key 'note' for harness compare; there are impls, external, "),
        ("impls = '''\nall'''\nseed = -1\n", "3: seed: '-1' is not a number from 0 to 4294967295"),
        ("workers = [1, true]\n", "1: workers: true is not a number or a text; put it in quotes"),
        ("workers = [[1], [2]]\n", "1: workers: [1] is not a number or a text; put it in quotes"),
        ("workers = []\n", "1: workers: the list is empty; name something, or leave the line out"),
        ("external = []\n", "1: external: the list is empty; name something, or leave the line out"),
        ("blocks = [1]\n", "1: blocks: [1] is a list; give one value"),
        ("seed = true\n", "1: seed: true is not a number or a text; put it in quotes"),
        ("seed = 1.0\n", "1: seed: '1.0' is not a number from 0 to 4294967295"),
        ("seed = 1979-05-27\n", "1: seed: 1979-05-27 is not a number or a text; put it in quotes"),
        ("lean = 1\n", "1: lean: 1 is neither true nor false"),
        ("rfs = 'yes'\n", "1: rfs: 'yes' is neither true nor false"),
        ("reference = 5\n", "1: reference: 5 is not a text; put it in quotes"),
        ("testbed = 'moon'\n", "1: testbed: 'moon' is not one of 'auto', 'loopback', 'netns'"),
        ("budget = nan\n", "1: budget: 'nan' is not a time from 0.1s to 86400s, as in 50ms or 2m"),
        ("budget = inf\n", "1: budget: 'inf' is not a time from 0.1s to 86400s, as in 50ms or 2m"),
        ("budget = '1d'\n", "1: budget: '1d' is not a time from 0.1s to 86400s, as in 50ms or 2m"),
        ("out = ''\n", "1: out: an empty text names no file"),
        ("preload = '/nosuch.so'\n", "1: preload: '/nosuch.so': there is no such file; give the path of a shared lib"),
        ("server-cpus = 'one'\n", "1: server-cpus: 'one' names no CPUs: "),
        ("seed = 1\nseed = 2\n", "2: seed: stands on line 1 already; leave one of them out"),
        ("[compare]\nseed = 1\n", "1: 'compare' is a table; a plan has none, only lines such as budget = '60s'"),
        ("[seed]\n", "1: 'seed' is a table; a plan has none, only lines such as budget = '60s'"),
        ("[[seed]]\n", "1: seed: [{}] is a list; give one value"),
        ("seed.x = 1\n", "1: 'seed' is a table; a plan has none, only lines such as budget = '60s'"),
        ("seed = {x = 1}\n", "1: 'seed' is a table; a plan has none, only lines such as budget = '60s'"),
        ("seed = 1\nbudget\nblocks = 1\n", "2: is not TOML: "),
        ("seed = 1 blocks = 2\n", "1: is not TOML: "),
        ("blocks = 1\nimpls = ['x',\nseed = 1\n", "3: is not TOML: "),
        ("blocks = 1\nimpls = ['x',", "2: is not TOML: "),
        ("\nimpls = '''x\n\n", "2: is not TOML: "),
        ("seed = " + "9" * 5000, "1: is not TOML: a number has too many digits"),
        ("seed = " + "[" * 5000, "1: is not TOML: it is nested too deeply"),
        ("\nimpls = [\n" + "'x',\n" * 900, "2: is not TOML: Invalid value; what begins here has no end within "),
        ("\n" * 2000, "1001: is not TOML: there are more than 1000 lines"),
        (b"seed = 1\n# \xff\n", "2: is not UTF-8, as TOML is: 0xff"),
        (b"\x7fELF\x00\x00", "1: is not TOML: "),
        ("\ufeffseed = 1\n", "1: is not TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str | bytes, line: str, tmp_path: Path) -> None:
    said = run("compare", "--out", tmp_path / "out", "--plan", write(tmp_path, text))
    assert said.is_one_line_of_error, said
    assert said.err.startswith(f"harness: error: {tmp_path}/x.toml:{line}"), said.err


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "--plan {}: there is no such file; give the path of one such as plans/quick.toml"),
        (Path.mkdir, "{}: cannot be read: Is a directory"),
        (os.mkfifo, "{}: cannot be read: is a FIFO, not a plain file"),
        (lambda path: path.symlink_to(path), "{}: cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "{}: cannot be read: is a device, not a plain file"),
        (lambda path: path.write_bytes(b"#" * 10**6), "--plan {}: is larger than 64 KiB, which no plan is"),
    ],
)
def test_what_is_no_plan_is_refused(make: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    make(path)
    said = run("compare", "--plan", path, "--out", tmp_path / "out")
    assert (said.status, said.out, said.err) == (2, "", f"harness: error: {why.format(path)}\n")


def test_what_is_found_out_later_has_its_line_too_unless_the_command_line_says_it(tmp_path: Path) -> None:
    plan = write(tmp_path, "impls = 'epoll_raw'\n\nbudget = '1s'\nslice = '60s'\n")
    problem = "--budget 1s: 3 cells x 1 implementation x 6 rounds of 60s"
    assert run("compare", "--dry-run", "--plan", plan).err.startswith(f"harness: error: {plan}:3: {problem}")
    said = run("compare", "--dry-run", "--plan", plan, "--budget", "1s")
    assert said.err.startswith(f"harness: error: {problem}")
    said = run("compare", "--dry-run", "--plan", write(tmp_path, "\nimpls = ['nosuch']\n"))
    assert said.err.startswith(f"harness: error: {plan}:2: --impls 'nosuch': unknown; there are {own()[0].name}, ")


def test_a_conflict_names_the_line_of_each_half(tmp_path: Path) -> None:
    plan = write(tmp_path, "impls = 'epoll_raw'\n\nbudget = '1s'\nslice = '60s'\n")
    said = run("compare", "--dry-run", "--plan", plan)
    assert said.err.startswith(f"harness: error: {plan}:3: --budget 1s: ")
    assert said.err.endswith(f", or a shorter --slice; --slice is from {plan}:4\n")
    said = run("compare", "--dry-run", "--plan", plan, "--budget", "2s")
    assert said.err.startswith("harness: error: --budget 2s: ")
    assert said.err.endswith(f", or a shorter --slice; --slice is from {plan}:4\n")
    said = run("compare", "--dry-run", "--plan", plan, "--slice", "50s")
    assert said.err.endswith(", or a shorter --slice\n")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text(""), "File exists"),
        (lambda path: path.symlink_to("nowhere"), "File exists"),
        (lambda path: path.parent.write_text(""), "Not a directory"),
    ],
)
def test_a_dry_run_refuses_a_folder_as_the_run_does(make: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    out = tmp_path / "x" / "out"
    if why == "File exists":
        out.parent.mkdir()
    make(out)
    arguments = ("compare", "--impls", "epoll_raw", "--testbed", "loopback", "--out", out)
    for said in (run(*arguments, "--dry-run"), run(*arguments)):
        assert (said.status, said.err.splitlines()[-1:]) == (2, [f"harness: error: {out}: cannot be made: {why}"])


def test_a_plan_does_not_go_with_a_run_that_has_one(tmp_path: Path) -> None:
    said = run("compare", "--resume", tmp_path, "--plan", PLANS[0])
    assert said.err == "harness: error: --plan: not beside --resume, where the run's own plan counts; leave it out\n"


def test_those_that_are_shipped_are_as_they_are_called() -> None:
    assert [path.stem for path in PLANS] == ["ci", "full", "paper", "quick"]


@pytest.mark.parametrize("path", PLANS, ids=[path.stem for path in PLANS])
def test_a_shipped_plan_can_be_carried_out(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(versions, "ask", lambda one: one.name)
    monkeypatch.chdir(tmp_path)
    said = run("compare", "--plan", path, "--dry-run")
    assert (said.status, said.err) == (0, "")
    assert f"From {path} (SHA-256 " in said.out.replace("\n  ", " ")
    assert not list(tmp_path.iterdir())
    assert f"--plan plans/{path.name}" in path.read_text()


def test_the_quick_plan_is_carried_out_and_the_run_remembers_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unchecked", "compare", "--plan", "plans/quick.toml"]
    done = subprocess.run(
        [*command, "--budget", "2s", "--testbed", "loopback", "--out", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False,
    )  # fmt: skip
    [folder] = tmp_path.iterdir()
    plan = json.loads((folder / "plan.json").read_text())
    assert {cell["workload"] for cell in plan["cells"]} == {"short", "keepalive"}, done.stderr
    assert [one["name"] for one in plan["implementations"]] == ["epoll_raw", "uvloop"]
    assert (plan["blocks"], plan["budget_s"], plan["testbed"]) == (2, 2.0, "loopback")
    assert (plan["source"]["file"], plan["source"]["overridden"]) == ("plans/quick.toml", ["budget"])
    assert plan["source"]["added"] == ["testbed", "out"]
    told = "but for --budget, as the command line says. The command line adds --testbed and --out."
    assert told in " ".join(done.stdout.split())
    again = run("report", folder)
    assert "From plans/quick.toml (SHA-256 " in again.out
