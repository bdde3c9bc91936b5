"""A run as it is shown while it is under way: how far it is, where it stands, on a screen of any size and in lines."""

import io
import re
import time
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from rich.console import Console

from harness.analysis.comparison import compare, glance
from harness.report import progress
from harness.report.live import leader
from harness.report.live.course import Course
from harness.report.live.screen import Screen, time_left
from harness.report.live.sparing import Sparing
from harness.report.live.standings import Standings
from harness.report.progress import RunProgress
from harness.schema import Plan, PlannedCell, Schedule, Slice
from tests.simulated import Server, cell, measure, planned

NAMES = ("epoll_raw", "uvloop", "trio")
SERVERS = {"epoll_raw": Server(100_000), "uvloop": Server(100_000), "trio": Server(25_000)}
ROUNDS = 50
SLICE_NS = 60_000_000
"""From the begin of one to the begin of the next."""
SIZES = [(80, 24), (100, 30), (112, 24), (160, 50), (250, 80), (40, 12), (20, 5)]
VARIANTS = [f"epoll_raw+reuseport+fastsocket+lean{number}" for number in range(40)]


def run(
    names: Sequence[str] = NAMES,
    cells: Sequence[PlannedCell] = (),
    servers: Mapping[str, Server] = SERVERS,
    *,
    rounds: int = ROUNDS,
    interleaved: bool = False,
) -> tuple[Plan, list[Slice]]:
    """Plan a run and measure it; the slices have their places on the machine's clock."""
    several = cells or [cell("short"), cell("keepalive"), cell("proxy", backend=[2])]
    schedule = Schedule(slice_s=0.05, rounds=rounds, blocks=5)
    plan = planned(names, *(msgspec.structs.replace(one, schedule=schedule) for one in several))
    plan = msgspec.structs.replace(plan, interleaved=interleaved)
    slices = measure(plan, servers, rounds=rounds)
    return plan, [
        msgspec.structs.replace(
            one, started_ns=(1 + number) * SLICE_NS, wall_ns=SLICE_NS, block=one.round * 5 // rounds
        )
        for number, one in enumerate(slices)
    ]


def after(plan: Plan, slices: Sequence[Slice], messages: Sequence[str] = ()) -> Screen:
    """Return what is shown after some slices."""
    course, standings = Course(plan), Standings(plan)
    for piece in slices:
        course.take(piece)
        standings.take(piece)
    standings.look()
    return Screen("results/one", plan, course, standings, "the third turn", messages)


def on(screen: Screen, width: int, height: int) -> str:
    """Return what a terminal of a size shows of it."""
    output = io.StringIO()
    Console(file=output, width=width, height=height).print(screen, end="")
    return output.getvalue()


def drawn(plan: Plan, slices: Sequence[Slice], width: int = 80, height: int = 24, messages: Sequence[str] = ()) -> str:
    """Return what a terminal of a size shows after some slices."""
    return on(after(plan, slices, messages), width, height)


def test_the_screen_says_how_far_the_run_is_and_where_each_cell_stands() -> None:
    plan, slices = run()
    text = drawn(plan, slices[: len(NAMES) * ROUNDS * 3 // 2])
    assert "50 %" in text
    assert "about 14 s left, 1 of 3 cells done" in text
    assert 0 < text.count("█") == pytest.approx(text.count("░"), abs=1), "a track that needs no colours"
    assert re.search(r"^the third turn$", text.replace(" \n", "\n"), re.MULTILINE)
    assert re.search(r"^epoll_raw +\d+,\d{3} +reference +97 % +70 % server-bound", text, re.MULTILINE)
    assert re.search(
        r"^trio +\d\d,\d{3} +0\.2\d\d 0\.2\d\d\N{EN DASH}0\.2\d\d +97 % +70 % server-bound", text, re.MULTILINE
    )
    assert re.search(r"So far epoll_raw ties with uvloop \(-\d\.\d to \d\.\d %\)", text)
    assert re.search(r"^done +short/w1/c100  epoll_raw ties with uvloop \(-\d\.\d to \d\.\d %\)", text, re.MULTILINE)
    assert re.search(r"^now +keepalive/w1/c100", text, re.MULTILINE)
    assert re.search(r"^to come +proxy/w1/c100", text, re.MULTILINE)


def test_a_wide_screen_has_requests_and_both_ratios() -> None:
    plan, slices = run()
    text = drawn(plan, slices, 160, 50)
    assert re.search(r"^trio +2\d,\d{3} +0\.2\d\d 0\.2\d\d\N{EN DASH}0\.2\d\d +\d\.\d\d\d ", text, re.MULTILINE)
    assert "backend" not in text, "a column of nothing"
    plan, slices = run(servers={**SERVERS, "trio": Server(25_000, backend_busy=0.5)})
    text = drawn(plan, slices, 160, 50)
    assert "backend" in text
    ratios = r"uvloop \d\.\d{3} \(.*\), trio 0\.2\d\d \(0\.2\d\d to 0\.2\d\d\); server-bound"
    assert re.search(rf"^done +short/w1/c100  requests/s: {ratios}", text, re.MULTILINE)


@pytest.mark.parametrize("names", [NAMES[:1], VARIANTS])
@pytest.mark.parametrize("interleaved", [False, True])
def test_it_fits_on_any_screen(names: Sequence[str], *, interleaved: bool) -> None:
    cells = [msgspec.structs.replace(cell(), workers=number, concurrency=100 * number) for number in (1, 2, 4, 8, 16)]
    servers = {name: Server(10_000 + number) for number, name in enumerate(names)}
    plan, slices = run(names, cells, servers, rounds=2, interleaved=interleaved)
    for done in (0, 1, len(slices) // 2, len(slices)):
        screen = after(plan, slices[:done], ["x did not start"] * 5)
        for width, height in SIZES:
            lines = on(screen, width, height).splitlines()
            assert len(lines) <= height
            assert max(map(len, lines)) <= width
            assert "x did not start" in lines[-1] or height < 6


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_no_number_is_cut_when_cells_are_measured_together(width: int) -> None:
    cells = [msgspec.structs.replace(cell(), workers=number, concurrency=100 * number) for number in (1, 2, 16)]
    plan, slices = run(cells=cells, interleaved=True)
    text = drawn(plan, slices, width, 40)
    found = re.findall(
        r"^ +\d+ x uvloop .* \d\.\d{3} \d\.\d{3}\N{EN DASH}\d\.\d{3} .* server-bound *$", text, re.MULTILINE
    )
    assert len(found) == len(cells), text


def test_a_low_screen_has_who_leads_and_the_ratios() -> None:
    plan, slices = run()
    text = drawn(plan, slices[: len(NAMES) * ROUNDS * 3 // 2], 80, 12)
    assert "So far" in text
    assert len(re.findall(r"^(?:epoll_raw|uvloop|trio) .*server-bound", text, re.MULTILINE)) == len(NAMES)
    assert "now      keepalive/w1/c100" in text


def test_what_there_is_no_room_for_is_counted() -> None:
    cells = [msgspec.structs.replace(cell(), concurrency=number) for number in range(1, 11)]
    servers = {name: Server(10_000 + 100 * number) for number, name in enumerate(VARIANTS)}
    plan, slices = run(VARIANTS, cells, servers, rounds=2)
    lines = [line.rstrip() for line in drawn(plan, slices[: len(VARIANTS) * 2 * 8 - 1]).splitlines()]
    shown = [line for line in lines if line.startswith("epoll_raw")]
    assert f"… and {len(VARIANTS) - len(shown)} more" in lines
    assert "now      short/w1/c8" in lines
    assert len({line.split()[0] for line in shown}) == len(shown), "names are cut so that they can be told apart"


def test_a_line_says_that_cells_are_left_out_where_some_are() -> None:
    cells = [msgspec.structs.replace(cell(), concurrency=number) for number in range(1, 31)]
    plan, slices = run(cells=cells, rounds=2)
    for done in range(0, len(slices) + 1, len(NAMES) * 10):
        text = drawn(plan, slices[:done])
        listed = len(re.findall(r"^(?:done|now|to come) ", text, re.MULTILINE))
        left_out = [int(number) for number in re.findall(r"^… (\d+) cells? (?:before|after)", text, re.MULTILINE)]
        assert 0 not in left_out
        assert listed + sum(left_out) == len(cells)
        assert done == 0 or "\nnow " in text


def test_a_hostile_name_moves_no_cursor() -> None:
    evil = "evil\x1b[2J\nname"
    plan, slices = run([evil, "[red]x"], servers={evil: Server(15_000), "[red]x": Server(9_000)})
    for width in (80, 160):
        text = drawn(plan, slices, width, messages=["\x1b[2J"])
        assert all(char == "\n" or char.isprintable() for char in text)
        assert "evil\\x1b[2J" in text
        assert "[red]x" in text


def test_the_interval_narrows_to_that_of_the_report() -> None:
    plan, slices = run(cells=[cell()])
    widths = []
    for rounds in (4, 12, ROUNDS):
        *_, trio = glance(plan, plan.cells[0], slices[: len(NAMES) * rounds])
        widths.append(trio.summary.ratio.half_width_share or 0.0)
    assert widths == sorted(widths, reverse=True)
    final = compare(plan, slices, {}).cells[-1]
    assert trio.summary.verdict == final.verdict
    assert trio.summary.ratio.value == final.ratio.value
    assert widths[-1] == pytest.approx(final.ratio.half_width_share, rel=0.1)
    assert trio.busy.server == pytest.approx(0.97)


def test_nothing_is_said_too_early() -> None:
    plan, slices = run()
    text = drawn(plan, slices[:1])
    assert "noisy" not in text
    assert "not-measured" not in text
    assert "So far" not in text
    assert "server-bound" not in text
    assert "requests/s" in text
    assert "CPU per" not in text
    assert "left" not in drawn(plan, slices[: len(NAMES) * 2])
    assert "left" in drawn(plan, slices[: len(NAMES) * 3])


def test_with_a_precision_the_time_left_is_the_most() -> None:
    plan, slices = run()
    precise = msgspec.structs.replace(plan, precision=0.02)
    assert re.search(r"at most \d+ s left", drawn(precise, slices[: len(slices) // 2]))


def test_a_screen_costs_nothing_while_nothing_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sparing, "is_due", True)
    plan, slices = run()
    console = on_terminal(monkeypatch)
    with RunProgress(console, plan) as shown:
        shown.slice_ends(slices[0])
        before = written(console)
        shown.pass_time()
        assert written(console) == before


def test_who_is_not_conformant_or_has_failed_is_marked() -> None:
    servers = {**SERVERS, "uvloop": Server(99_500, errors={"wrong reply": 4000})}
    plan, slices = run(servers=servers)
    broken = msgspec.structs.replace(plan.implementations[2], conformant=False, failed_cases=("REPLY-BYTES",))
    plan = msgspec.structs.replace(plan, implementations=(*plan.implementations[:2], broken))
    text = drawn(plan, [piece for piece in slices if piece.impl != "trio"])
    assert re.search(r"^uvloop .* failed *$", text, re.MULTILINE)
    assert re.search(r"^trio .* not-conformant *$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("rates", "shared", "said"),
    [
        ((100, 99.9), False, r"epoll_raw ties with other \(-\d\.\d to \d\.\d %\)"),
        (
            (100, 60),
            False,
            r"epoll_raw serves [67]\d % \([56]\d to [67]\d %\) more requests/s than other",
        ),
        ((75, 100), False, r"other serves 3\d % \([23]\d to [34]\d %\) more requests/s than epoll_raw"),
        ((75, 100), True, r"other needs 2\d % \(2\d to 2\d %\) less CPU per request than epoll_raw"),
    ],
)
def test_who_leads(rates: tuple[float, float], said: str, *, shared: bool) -> None:
    names = ["epoll_raw", "other"]
    servers = {name: Server(1000 * rate) for name, rate in zip(names, rates, strict=True)}
    plan, slices = run(names, [cell(shared=shared)], servers)
    assert re.fullmatch(said, leader.so_far(glance(plan, plan.cells[0], slices), "epoll_raw"))


def test_of_one_alone_requests_are_told() -> None:
    plan, slices = run(NAMES[:1], [cell()], {"epoll_raw": SERVERS["epoll_raw"]})
    said = leader.so_far(glance(plan, plan.cells[0], slices), "epoll_raw")
    assert re.fullmatch(r"epoll_raw: \d+,\d{3} \(\d+,\d{3} to \d+,\d{3}\) requests/s", said)


def test_a_run_that_was_gone_on_with_has_the_pace_of_now() -> None:
    plan, slices = run(cells=[cell()])
    half = len(slices) // 2
    later = [msgspec.structs.replace(one, started_ns=one.started_ns + 10**13) for one in slices[half:]]
    course = Course(plan)
    for piece in [*slices[:half], *later[: half // 2]]:
        course.take(piece)
    assert course.done_share == pytest.approx(0.75, abs=0.02)
    assert course.left_s == pytest.approx(half / 2 * SLICE_NS / 1e9, rel=0.1)


def test_cells_in_which_nobody_is_measured_are_no_part_of_what_is_left() -> None:
    plan, slices = run(cells=[cell("short"), cell("keepalive")])
    only_short = [msgspec.structs.replace(one, workloads=("short",)) for one in plan.implementations]
    unfit = msgspec.structs.replace(only_short[0], name="unfit", workloads=("keepalive",), conformant=False)
    plan = msgspec.structs.replace(plan, implementations=(*only_short, unfit))
    course = Course(plan)
    for piece in slices[: len(NAMES) * ROUNDS]:
        course.take(piece)
    assert course.done_share == 1.0
    assert [course.state(one) for one in plan.cells] == ["now", "done"]


def test_slices_of_a_cell_that_is_done_are_not_kept() -> None:
    plan, slices = run()
    standings = Standings(plan)
    for piece in slices:
        standings.take(piece)
    assert {key for key, kept in standings._slices.items() if kept} == {"proxy/w1/c100"}
    assert standings.of(plan.cells[0])[2].summary.ratio.value == pytest.approx(0.25, rel=0.1)


def test_work_between_slices_is_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(time, "thread_time", lambda: now_s)
    work, spent_s = Sparing(), 0.0
    for _ in range(100_000):
        now_s += 0.05
        if work.is_due:
            with work.working():
                now_s += 0.3
                spent_s += 0.3
    assert 0.005 < spent_s / (now_s - 100.0) <= 0.01


class OnTerminal(io.StringIO):
    """What a terminal gets."""

    def isatty(self) -> bool:
        """Be one."""
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Make a console that is a terminal of 80 columns and 24 lines."""
    monkeypatch.setenv("TERM", "xterm")
    return Console(file=OnTerminal(), width=80, height=24, force_terminal=True)


def written(console: Console) -> str:
    """Return what a terminal got, without colours and moves."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_before_conformance_is_known_no_cell_is_done() -> None:
    plan, _ = run()
    nobody = tuple(msgspec.structs.replace(one, conformant=False) for one in plan.implementations)
    text = drawn(msgspec.structs.replace(plan, implementations=nobody, conformance_checked=False), [])
    assert "0 of 3 cells done" in text
    assert len(re.findall(r"^to come ", text, re.MULTILINE)) == 3


def test_a_terminal_whose_size_changes_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sparing, "is_due", False)
    plan, slices = run()
    console = on_terminal(monkeypatch)
    with RunProgress(console, plan) as shown:
        shown.slice_ends(slices[0])
        console.width = 60
        before = len(written(console))
        shown.pass_time()
        once = len(written(console))
        shown.pass_time()
        assert before < once == len(written(console))


def test_slices_of_an_earlier_run_are_shown_at_once_and_not_taken_for_what_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, slices = run()
    console = on_terminal(monkeypatch)
    with RunProgress(console, plan, done=slices[: len(NAMES) * 10]) as shown:
        text = written(console)
        assert "starting servers" in text
        assert "server-bound" in text
        shown.slice_ends(slices[len(NAMES) * 10])
        shown.refresh()
        assert f"short/w1/c100, round 11 of 50, block 2 of 5; last measured: {slices[30].impl}" in written(console)


def test_lines_say_what_begins_and_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    plan, slices = run()
    output = io.StringIO()
    with RunProgress(Console(file=output, width=40), plan) as shown:
        for one in plan.cells[:2]:
            assert one.schedule is not None
            rounds = msgspec.structs.replace(one.schedule, fixed_rate_rps=1)
            begun_cells = [msgspec.structs.replace(each, schedule=rounds) for each in plan.cells]
            shown.plan_is(msgspec.structs.replace(plan, cells=tuple(begun_cells)))
            for _each_block in range(2):
                shown.group_begins([one], one.schedule)
            for piece in slices:
                if piece.cell == one.key:
                    shown.slice_ends(piece)
        shown.failed("x\x1b[2J did not start")
    lines = output.getvalue().splitlines()
    assert lines[0] == "short/w1/c100: 50 rounds of 50 ms each in 5 blocks"
    begun = [
        line for line in lines if re.fullmatch(r"keepalive/w1/c100: 50 rounds .* in 5 blocks, about 1\d s left", line)
    ]
    assert len(begun) == 1
    assert re.fullmatch(
        r"cell 2 of 3, keepalive/w1/c100: .*, 50 done, about \d s left; CPU: server 97 %, client 70 %; server-bound; "
        r"epoll_raw ties with uvloop \(.*",
        lines[-2],
    )
    assert lines[-1] == "x\\x1b[2J did not start"


def test_a_quiet_console_has_failures_alone() -> None:
    plan, slices = run()
    output = io.StringIO()
    with RunProgress(Console(file=output, quiet=True), plan) as shown:
        assert plan.cells[0].schedule is not None
        shown.group_begins(plan.cells[:1], plan.cells[0].schedule)
        for piece in slices:
            shown.slice_ends(piece)
        shown.failed("x did not start")
    assert output.getvalue() == "x did not start\n"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (99, "99 s"), (100, "1:40 min"), (5999, "99:59 min"), (6000, "1:40 h")]
)
def test_time_left(seconds: float, said: str) -> None:
    assert time_left(seconds) == said
