"""Where the core goes: from what perf prints to figures, tables, files and pages, and the command itself."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness.analysis import stacks
from harness.analysis.perf_script import Reader, Sample
from harness.analysis.profile import Setting, Turn, sum_up
from harness.analysis.profile_rules import KERNEL, Frame
from harness.profile import files, perf
from harness.profile_schema import ImplementationProfile, Profile
from harness.report import flamegraph
from harness.report.figures import WIDTH
from harness.report.profile import MOST_UNSORTED, render
from tests.fake_perf import OBEYS, fake_perf

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "data" / "profile" / "two-servers.perf.txt"
"""Samples of a real recording: of epoll_raw's turn, which began at 1000 s, and of uvloop's, which began at 1001 s."""
FAULTY = ROOT / "tests" / "faults" / "servers" / "faulty.py"
SECOND_NS = 1_000_000_000
SETTING = Setting(cpus=1, frequency_hz=1000, seed=1)


def turn(name: str, number: int = 0, *, second: int = 1000, pid: int = 4101, requests: int = 100) -> Turn:
    return Turn(
        impl=name,
        round=number,
        block=0,
        started_ns=second * SECOND_NS,
        ended_ns=second * SECOND_NS + SECOND_NS // 2,
        requests=requests,
        pids=frozenset({pid}),
    )


def recorded_turns() -> list[Turn]:
    return [turn("epoll_raw"), turn("uvloop", second=1001, pid=4201)]


def test_each_recorded_sample_is_in_one_category_and_one_context(tmp_path: Path) -> None:
    turns = recorded_turns()
    with RECORDED.open() as lines:
        found = files.sort_out(lines, turns, tmp_path)
    assert (found.unread, found.problems) == (0, [])
    assert [of.samples for of in turns] == [24, 25]
    assert [of.contexts.total() for of in turns] == [24, 25]
    for of in turns:
        aside = sum(of.categories[name] for name in ("idle", "leaving idle", "other programs", "kernel threads"))
        assert aside == 5
        assert found.folded[of.impl].total() == of.samples - aside
        assert of.categories["TCP receive"] == of.categories["TCP transmit"] == of.categories["other kernel code"] == 1
        assert of.categories["Python interpreter"] == 2
        assert not of.categories["unknown"]
        assert of.contexts["write"]
    assert [of.categories["the library's own code"] for of in turns] == [0, 1]


def test_the_text_that_is_kept_is_as_perf_prints_it_with_two_named_threads(tmp_path: Path) -> None:
    with RECORDED.open() as lines:
        folded = files.sort_out(lines, recorded_turns(), tmp_path).folded
    kept = (tmp_path / "uvloop.perf.txt").read_text()
    read = list(Reader().samples(kept.splitlines(keepends=True)))
    assert {(one.program, one.pid) for one in read} == {("uvloop (CPU 0)", 1), ("interrupts (CPU 0)", 2)}
    assert len({one.at_ns for one in read}) == len(read)
    assert Counter(stacks.fold(one)[1:] for one in read) == Counter(
        {stack[1:]: count for stack, count in folded["uvloop"].items()}
    )
    # What speedscope (import/linux-tools-perf) and the Firefox profiler (import/linux-perf) take for a sample.
    heads = [line for line in kept.splitlines() if line and not line.startswith("\t")]
    assert len(heads) == folded["uvloop"].total()
    taken = [re.match(r"^(\S.+?)\s+(\d+)/?(\d+)?\s+(?:\[\d+\])?\s*\d+\.\d+:\s+\S+:\s*$", head) for head in heads]
    assert {found and found[1] for found in taken} == {"uvloop (CPU 0)", "interrupts (CPU 0)"}
    assert all(re.match(r"^\s*\w+\s*.+ \(.*\)$", line) for line in kept.splitlines() if line.startswith("\t"))


def test_samples_outside_of_all_turns_are_nobodys(tmp_path: Path) -> None:
    turns = [turn("early", second=998), turn("late", second=1002)]
    with RECORDED.open() as lines:
        files.sort_out(lines, turns, tmp_path)
    assert [of.samples for of in turns] == [0, 0]
    assert not (tmp_path / "early.perf.txt").read_text()


def test_what_cannot_be_read_is_counted_and_the_rest_read() -> None:
    good = (
        "a name: 7  12/12 [000] 1000.000000001: cpu-clock: \n\t  7f00 f(int) (/a b (deleted))\n\t 7f01 g+0x1f ([k])\n\n"
    )
    odd = ["no head\n\t 7f00 f (/a)\n\n", "x 1/1 [000] 1.000000000: cpu-clock: \n\tnot a frame\n\n"]
    reader = Reader()
    found = list(reader.samples("".join([odd[0], good, odd[1], good[:-1]]).splitlines(keepends=True)))
    stack = (Frame("f(int)", "/a b (deleted)"), Frame("g", "[k]"))
    assert [(one.program, one.pid, one.at_ns, one.stack) for one in found] == [
        ("a name: 7", 12, 1000 * SECOND_NS + 1, stack)
    ] * 2
    assert reader.unread == 2


def counted(categories: Sequence[dict[str, int]], requests: int = 100) -> ImplementationProfile:
    """Sum up turns of half a second with such samples."""
    turns = [turn("mine", number, requests=requests) for number in range(len(categories))]
    for one, counts in zip(turns, categories, strict=True):
        one.categories.update(counts)
        one.contexts.update({"read": sum(counts.values())})
    return sum_up("mine", turns, SETTING)


def us(found: ImplementationProfile) -> dict[str, float | None]:
    return {part.name: part.us_per_request.value for part in found.categories}


def test_a_share_of_the_samples_is_that_share_of_the_time_of_each_request() -> None:
    counts = {"TCP receive": 50, "memory": 25, "unknown": 25, "other programs": 100, "idle": 300}
    found = counted([counts, counts])
    # Half a second over 100 requests is 5,000 µs, and TCP receive has a tenth of it.
    expected = {"TCP receive": 500, "memory": 250, "unknown": 250, "other programs": 1000, "idle": 3000}
    assert us(found) == pytest.approx(expected)
    assert found.us_per_request.value == pytest.approx(1000)
    assert found.unsorted_share == pytest.approx(0.25)
    assert sum(part.share for part in found.categories) == pytest.approx(1)
    assert (found.samples, found.expected_samples, found.requests) == (1000, 1000, 200)


def test_lost_samples_of_all_kinds_change_no_figure() -> None:
    few = counted([{"memory": 10, "idle": 40}] * 2)
    assert us(few) == pytest.approx(us(counted([{"memory": 100, "idle": 400}] * 2)))
    assert (few.samples, few.expected_samples) == (100, 1000)


def test_the_interval_is_what_the_turns_differ_by() -> None:
    [memory, _] = counted([{"memory": 50 + 10 * (-1) ** n, "idle": 450 - 10 * (-1) ** n} for n in range(20)]).categories
    known = memory.us_per_request
    assert known.value == pytest.approx(500)
    assert known.low is not None
    assert known.high is not None
    assert 400 < known.low < 480
    assert 520 < known.high < 600


def test_turns_without_samples_or_replies_give_no_figures() -> None:
    counts = {"memory": 250, "idle": 250}
    assert counted([counts, {}, counts]).turns == 2
    nothing = counted([counts], requests=0)
    assert (nothing.turns, nothing.categories, nothing.us_per_request.value) == (0, (), None)


def profile(*found: ImplementationProfile, notes: Sequence[str] = ()) -> Profile:
    return Profile(
        workload="short",
        concurrency=100,
        rate_rps=1000,
        server_cpus=(0,),
        frequency_hz=999,
        notes=tuple(notes),
        implementations=found,
    )


def renamed(found: ImplementationProfile, **changes: object) -> ImplementationProfile:
    return ImplementationProfile(**{**{name: getattr(found, name) for name in found.__struct_fields__}, **changes})


@pytest.mark.parametrize("implementations", [1, 4, 9])
def test_the_tables_stay_within_the_width_of_reports(implementations: int) -> None:
    found = counted([{"memory": 140, "idle": 360}, {"memory": 150, "idle": 350}])
    text = render(profile(*(renamed(found, impl=f"implementation_{n}") for n in range(implementations))))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert all(f"implementation_{n}: 1,000 samples in 2 turns" in text for n in range(implementations))
    assert re.search(r"^memory +1,450 \(", text, re.MULTILINE)
    assert re.search(r"^all that requests take +1,450 \(", text, re.MULTILINE)
    assert re.search(r"^read +5,000 \(", text, re.MULTILINE)


def test_what_is_in_doubt_is_told() -> None:
    found = counted([{"memory": 80, "unknown": 20, "idle": 100}] * 2)
    text = " ".join(render(profile(found, notes=["No names."])).split())
    assert "of 20 % of the work nobody can tell what it was, TOO MUCH to trust the other rows" in text
    assert "60 % of the samples were lost" in text
    assert "No names." in text
    shared = " ".join(render(profile(renamed(found, within_others_share=0.2))).split())
    assert "20 % of it came by interrupts into other programs, TOO MUCH, as it may be theirs" in shared
    assert "came by interrupts" not in text
    assert "give --rate 1000 to repeat them" in text
    assert "interrupted" not in text
    slow = renamed(found, requests=800, offered=1000, errors=3)
    text = " ".join(render(profile(slow)).split())
    assert "mine: 3 errors." in text
    assert "mine answered 80 % of what was offered" in text
    ended = ImplementationProfile(impl="other", failure="it ended with status 3")
    text = " ".join(render(profile(found, ended)).split())
    assert "other has no more turns: it ended with status 3." in text
    assert "other: no figures" in text


def sample(*frames: Frame, program: str = "python") -> Sample:
    return Sample(program, 1, 0, 0, frames, ())


def kernel(*names: str) -> list[Frame]:
    return [Frame(name, KERNEL) for name in names]


def test_stacks_are_folded_from_the_outside_in() -> None:
    unknown = Frame("[unknown]", "[unknown]")
    call = sample(*kernel("tcp_sendmsg", "do_syscall_64"), Frame("send", "/lib/libc.so.6"), unknown, program="a;b")
    assert stacks.fold(call) == ("a:b", "send", "do_syscall_64_[k]", "tcp_sendmsg_[k]")
    assert stacks.fold(sample(Frame("[unknown]", "/usr/sbin/nginx"))) == ("python", "[nginx]")
    interrupt = sample(*kernel("net_rx_action", "handle_softirqs", "asm_sysvec_x"), Frame("f", "/lib/libc.so.6"))
    assert stacks.fold(interrupt) == ("interrupts", "asm_sysvec_x_[k]", "handle_softirqs_[k]", "net_rx_action_[k]")
    assert list(stacks.lines({("b", "c"): 2, ("a",): 1})) == ["a 1\n", "b;c 2\n"]


def test_a_frame_of_the_tree_has_the_samples_of_all_that_it_called() -> None:
    tree = stacks.tree({("a", "b"): 60, ("a", "b", "c"): 30, ("a", "thin"): 1, ("d",): 9}, "all", least_share=0.05)
    [a, d] = tree.root.children
    assert (tree.root.name, tree.root.samples) == ("all", 100)
    assert (a.name, a.samples, d.name, d.samples) == ("a", 91, "d", 9)
    [b] = a.children
    assert (b.samples, [(child.name, child.samples) for child in b.children]) == (90, [("c", 30)])
    assert tree.left_out == 1


class Page(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.references: list[str] = []
        self.texts: dict[str, str] = {}
        self.frames = ""
        """The text of the first script."""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it, and note what it refers to."""
        self.tags[tag] += 1
        given = dict(attrs)
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
        if tag not in {"meta", "input"}:
            self._open.append(f"{tag}#{given['id']}" if "id" in given else tag)

    def handle_endtag(self, tag: str) -> None:
        """See that it ends what was begun last."""
        assert self._open.pop().partition("#")[0] == tag

    def handle_data(self, data: str) -> None:
        """Keep the text of each element."""
        if self._open and self._open[-1] == "script" and not self.frames:
            self.frames = data
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data

    @property
    def data(self) -> Any:
        """What the script draws."""
        return json.loads(self.frames)


def test_the_page_is_one_file_with_all_frames_and_no_reference() -> None:
    page = Page(
        files.page("epoll_raw, short", Counter({("python", "send", "tcp_sendmsg_[k]"): 3, ("swapper",): 1}), 2.5)
    )
    assert page.references == []
    assert page.texts["title"] == page.texts["h1"] == "epoll_raw, short"
    assert page.data == {
        "root": ["all", 4, 0, [
            ["python", 3, 0, [["send", 3, 0, [["tcp_sendmsg_[k]", 3, 1, []]]]]],
            ["swapper", 1, 0, []],
        ]],
        "us": 2.5,
    }  # fmt: skip
    assert not re.search(r"\burl\(|https?:|@import", "".join(page.texts.values()))


def test_names_are_text_on_the_page_whatever_they_hold() -> None:
    hostile = "</script><img src=x onerror=alert(1)><!--<script>\u2028$title"
    page = Page(flamegraph.render(hostile, stacks.tree({(hostile,): 1}, "all"), None))
    assert page.tags["script"] == 2
    assert page.tags["img"] == 0
    assert page.data["root"][3][0][0] == hostile
    assert not set(page.frames) & {"<", ">", "&", "\u2028"}
    assert page.texts["h1"] == hostile


def test_a_page_stays_small_and_says_what_it_has_left_out() -> None:
    deep = Counter(
        {(f"program {n}", *(f"{n} {'function' * 12} {depth}" for depth in range(30))): 1 for n in range(600)}
    )
    text = files.page("many", deep, None)
    assert len(text.encode()) < files.LARGEST_PAGE_BYTES
    assert re.search(r"[1-9][0-9,]+ frames too thin to be seen are left out", Page(text).texts["p"])


def test_the_pages_script_is_one_that_can_be_run() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = ROOT / "harness" / "report" / "page" / "flame.js"
    assert subprocess.run([node, "--check", str(script)], check=False).returncode == 0


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness", "profile", *map(str, arguments)]


def run(*arguments: object, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False,
        env=None if path is None else {**os.environ, "PATH": path},
    )  # fmt: skip


FEW = ("--impls", "epoll_raw", "--rate", "200", "--slice", "150ms", "--budget", "1s", "--seed", "1")


def test_a_server_is_profiled_or_it_is_told_what_right_is_missing(
    tmp_path: Path, tool: Callable[[str, str], str]
) -> None:
    trial = [tool("perf", "linux-perf"), "record", "-a", "-e", "cpu-clock", "-o", os.devnull, "true"]
    may_record = subprocess.run(trial, capture_output=True, check=False).returncode == 0
    ended = run(*FEW, "--out", tmp_path)
    if not may_record:
        assert ended.returncode == 2
        assert re.fullmatch(r"harness: error: profile: perf may not record CPU \d+: it takes root, .*\n", ended.stderr)
        assert not list(tmp_path.iterdir())
        return
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [folder] = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "plan.json", "environment.json", "environment-after.json", "slices.jsonl", "histograms.hlog", "servers",
        "profile.json", "epoll_raw.perf.txt", "epoll_raw.folded", "flamegraph-epoll_raw.html",
    }  # fmt: skip
    [found] = json.loads((folder / "profile.json").read_text())["implementations"]
    assert found["requests"] > 0
    for parts in (found["categories"], found["contexts"]):
        assert sum(part["samples"] for part in parts) == found["samples"] > 0
        assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert found["process_us_per_request"]["value"] > 0
    if perf.names_kernel_functions():
        assert found["unsorted_share"] < MOST_UNSORTED
    again = subprocess.run(
        [sys.executable, "-m", "harness", "report", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.stdout.strip()
    assert again.stdout.strip() in ended.stdout


def test_without_perf_it_names_what_to_install(tmp_path: Path) -> None:
    ended = run(*FEW, "--out", tmp_path, path="")
    assert ended.returncode == 2
    assert ended.stderr == (
        "harness: error: profile: perf, which records where the core goes, is not on the PATH; it is in the package "
        "linux-perf (Debian: apt-get install linux-perf)\n"
    )


def test_a_perf_that_may_not_record_costs_one_line_that_says_what_would_help(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin", "sys.exit('Access to performance monitoring is limited.')")
    ended = run(*FEW, "--testbed", "loopback", "--out", tmp_path / "runs", path=path)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "the capability CAP_PERFMON, or sysctl kernel.perf_event_paranoid at 0 or lower" in ended.stderr
    assert ended.stderr.endswith("perf: Access to performance monitoring is limited.\n")
    assert not (tmp_path / "runs").exists()


def test_a_perf_that_ends_while_it_records_is_told_in_one_line(tmp_path: Path) -> None:
    body = OBEYS + "    if number: sys.exit('perf: out of luck')\n"
    path = fake_perf(tmp_path / "bin", body)
    ended = run(*FEW, "--testbed", "loopback", "--out", tmp_path / "runs", path=path)
    assert ended.returncode == 1
    assert ended.stderr == (
        "harness: error: perf has ended while it recorded, and nothing of it can be read: perf: out of luck\n"
    )
    [folder] = (tmp_path / "runs").iterdir()
    assert not list(folder.glob("*perf*"))


def test_a_server_that_ends_under_load_costs_its_own_turns(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin")
    faulty = shlex.join([sys.executable, str(FAULTY), "crashes"])
    ended = run(
        "--impls", "epoll_raw", "--external", f"faulty={faulty}", "--rate", "2000", "--slice", "100ms",
        "--budget", "1300ms", "--testbed", "loopback", "--out", tmp_path / "runs", path=path,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "faulty has no more turns: it ended with status 3; its last lines:" in ended.stdout
    [folder] = (tmp_path / "runs").iterdir()
    rounds = json.loads((folder / "plan.json").read_text())["rounds"]
    slices = [json.loads(line) for line in (folder / "slices.jsonl").read_text().splitlines()]
    assert sum(piece["impl"] == "epoll_raw" for piece in slices) == rounds


def test_an_interrupt_ends_with_what_was_recorded(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin")
    long = ("--impls", "epoll_raw", "--rate", "200", "--slice", "100ms", "--budget", "60m", "--testbed", "loopback")
    with subprocess.Popen(
        command(*long, "--out", tmp_path / "runs"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PATH": path},
    ) as process:  # fmt: skip
        try:
            assert processes.wait_until(lambda: has_slices(tmp_path / "runs"), 60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == 130, err
    # This perf shows no samples.
    assert "The run was interrupted; the figures are of the turns before that." in out
    assert "epoll_raw: no figures" in out
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "profile.json").read_text())["interrupted"]
    assert not list(folder.glob("perf.data*"))


def has_slices(runs: Path) -> bool:
    return any(path.stat().st_size for path in runs.glob("*/slices.jsonl"))


def test_a_peer_that_takes_no_part_is_told_with_the_option_of_this_command(tmp_path: Path) -> None:
    path = fake_perf(tmp_path / "bin")
    haproxy = tmp_path / "bin" / "haproxy"
    haproxy.symlink_to(sys.executable)
    ended = run("--impls", "haproxy", "--workload", "short", "--out", tmp_path / "runs", path=path)
    assert ended.returncode == 2
    assert ended.stderr == "harness: error: haproxy: takes no part in short; leave it out, or give --workload proxy\n"
