"""What the plots of a run show: the same figures as their tables, for few slices and for very many."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import folded
from harness.analysis import scalability, stacks
from harness.analysis.comparison import compare
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.profile_schema import ImplementationProfile, Part, Profile
from harness.report.plots import balance, core, flame, scaling, slices
from harness.report.plots.clock import Clock
from harness.report.plots.plot import Plot
from harness.results import StoredRun
from harness.schema import Estimate, Plan, PlannedCell, Slice
from tests.simulated import Server, measure, planned
from tests.test_scaling import BENT, PERCPU, PLAIN, STRAIGHT, plan_for, slices_of

SERVERS = {"epoll_raw": Server(4000), "trio": Server(2000)}
HOUR_NS = 3600 * 10**9


def stored(plan: Plan, measured: Sequence[Slice]) -> StoredRun:
    return StoredRun(
        path=Path(), plan=plan, environment=Environment(), environment_after=None, slices=tuple(measured),
        histograms={}, summary=None, notes=(),
    )  # fmt: skip


def of(kind: Any, run: StoredRun) -> list[Plot]:
    found: list[Plot] = kind.plots(run, compare(run.plan, run.slices, {}))
    return found


def marks(plot: Plot) -> list[str]:
    """Return what marks say, in the order in which they are drawn."""
    return [says for says in _said(plot.chart.to_dict()) if says]


def _said(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*([value["says"]] if "says" in value else []), *(one for each in value.values() for one in _said(each))]
    return [one for each in value for one in _said(each)] if isinstance(value, list) else []


def test_every_slice_is_a_mark_that_tells_when_it_was_and_how_fast() -> None:
    plan = planned(list(SERVERS))
    measured = [
        msgspec.structs.replace(one, started_ns=10**9 * (1 + one.round) + one.position, block=one.round // 5)
        for one in measure(plan, SERVERS, rounds=20)
    ]
    [plot] = of(slices, stored(plan, measured))
    assert (plot.name, plot.cell) == ("short-w1-c100-slices", "short/w1/c100")
    said = marks(plot)
    assert len(said) == len(measured)
    third = next(one for one in measured if one.impl == "trio" and one.round == 3)
    assert f"trio, at 3.00 s: {third.window_rps:,.0f} requests/s" in said
    assert "started afresh" in plot.caption
    assert [row[:2] for row in plot.rows] == [["epoll_raw", "20"], ["trio", "20"]]
    fixed = [msgspec.structs.replace(one, phase="fixed-rate", rate_rps=500) for one in measured]
    [plot] = of(slices, stored(plan, [*measured, *fixed]))
    assert len(marks(plot)) == len(measured)
    assert "at a fixed rate" in plot.caption


def test_of_a_long_run_slices_are_told_together_with_the_least_and_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_MARKS", 60)
    plan = planned(list(SERVERS))
    measured = [
        msgspec.structs.replace(one, started_ns=1 + one.round * 10**12 + one.position, block=one.round // 3)
        for one in measure(plan, SERVERS, rounds=200)
    ]
    [plot] = of(slices, stored(plan, measured))
    said = marks(plot)
    assert len(said) == slices.MOST_MARKS
    assert "slices or fewer in a row" in plot.caption
    rates = [one.window_rps for one in measured if one.impl == "trio"]
    lows = [float(one.split(": ")[1].split(" to ")[0].replace(",", "")) for one in said if one.startswith("trio")]
    assert min(lows) == pytest.approx(min(rates), abs=1)
    assert " h: " in said[0], "after days nobody counts seconds"
    assert "started afresh" not in plot.caption, "as many lines as blocks would hide the marks"


def test_where_the_clock_is_not_known_rounds_are_told() -> None:
    [one, other] = measure(planned(["epoll_raw"]), {"epoll_raw": Server(1000)}, rounds=2)
    assert Clock.of([one, other]).title == "round"
    before = msgspec.structs.replace(one, started_ns=5 * HOUR_NS)
    assert Clock.of([before, msgspec.structs.replace(other, started_ns=HOUR_NS)]).title == "round"
    assert Clock.of([before, msgspec.structs.replace(other, started_ns=6 * HOUR_NS)]).title == "time, min"


def test_cells_that_are_too_many_for_a_page_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_MARKS", 4 * slices.FEWEST_MARKS)
    on = [PlannedCell("short", 1, n, server_cpus=(0,), generator_cpus=(1,)) for n in range(1, 7)]
    plan = planned(list(SERVERS), *on)
    found = of(slices, stored(plan, measure(plan, SERVERS, rounds=3)))
    assert [plot.cell for plot in found] == [f"short/w1/c{n}" for n in range(1, 3)]
    assert "4 more cells are too many for a page" in found[-1].caption


def with_workers(workers: int) -> tuple[Plan, list[Slice]]:
    on = tuple(range(workers))
    plan = planned(list(SERVERS), PlannedCell("short", workers, 100, server_cpus=on, generator_cpus=(900,)))
    measured = measure(plan, {name: Server(4000, server_busy=0.98 * workers) for name in SERVERS}, rounds=4)
    return plan, [msgspec.structs.replace(one, worker_accepted=[10 + worker for worker in on]) for one in measured]


def test_each_worker_is_a_mark_with_its_share_and_with_many_their_range_is() -> None:
    [plot] = of(balance, stored(*with_workers(2)))
    assert "epoll_raw, worker 1 on CPU 1: 52.38 % of 84 connections" in marks(plot)
    assert plot.rows[0] == ["epoll_raw", "84", "47.62", "48.81", "50.00", "51.19", "52.38"]
    [plot] = of(balance, stored(*with_workers(96)))
    assert len(marks(plot)) == len(SERVERS)
    assert of(balance, stored(planned(list(SERVERS)), measure(planned(list(SERVERS)), SERVERS))) == [], "one worker"


def test_the_law_is_drawn_in_its_band_and_apart_where_it_goes_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalability, "RESAMPLES", 99)
    plan = plan_for([PLAIN, PERCPU], [1, 2, 4, 8])
    run = stored(plan, list(slices_of(plan, {PLAIN: BENT, PERCPU: STRAIGHT})))
    summary = compare(plan, run.slices, {})
    law, speed_up = scaling.plots(run, summary)
    extrapolated = [row for row in law.rows if "extrapolated" in row[-1]]
    assert [row[:2] for row in extrapolated] == [[PLAIN, "24"], [PERCPU, "24"]]
    found = summary.scaling[0].law
    assert found is not None
    rps = found.extrapolations[0].throughput_rps.value
    assert rps is not None
    assert any(one.startswith(f"{PLAIN}, 24 workers: {rps:,.0f} requests/s") for one in marks(law))
    assert not any("24 workers" in one for one in marks(speed_up)), "a law is no measurement"
    assert "not fitted" not in law.caption
    few = plan_for([PLAIN], [1, 2])
    law, _ = of(scaling, stored(few, list(slices_of(few, {PLAIN: BENT}))))
    assert "not fitted: it takes 4 numbers of workers" in law.caption


def profile(*names: str) -> Profile:
    parts = [("TCP receive", 30.0), ("interrupts", 20.0), ("idle", 500.0), ("Python interpreter", 50.0)]
    return Profile(
        workload="short", concurrency=100, rate_rps=1000, server_cpus=(0,), frequency_hz=999,
        implementations=tuple(
            ImplementationProfile(
                impl=name, samples=100, us_per_request=Estimate(100.0, 90.0, 110.0),
                categories=tuple(
                    Part(name=part, us_per_request=Estimate(us, us - 1, us + 1), share=0.1, samples=10)
                    for part, us in parts
                ),
            )
            for name in names
        ),
    )  # fmt: skip


def test_bars_add_up_to_what_requests_take_and_leave_out_the_rest() -> None:
    kinds, categories = core.plots(profile("trio"))
    [row] = kinds.rows
    shown = dict(zip(kinds.columns, row, strict=True))
    assert (shown["network, µs"], shown["interrupts, µs"], shown["the program, µs"]) == ("30.00", "20.00", "50.00")
    assert (shown["all, µs"], shown["95 % interval"]) == ("100.00", "90.00\N{EN DASH}110.00")
    assert [row[0] for row in categories.rows] == ["TCP receive", "interrupts", "Python interpreter"]
    assert "trio, TCP receive: 30.00 µs (29.00\N{EN DASH}31.00)" in marks(categories)


def test_still_flame_graphs_have_few_frames_and_the_others_are_for_the_script() -> None:
    deep = Counter({("python", f"f{n}", *(f"g{n}.{depth}_[k]" for depth in range(20))): 1 for n in range(300)})
    found = flame.plots(profile("epoll_raw", "trio", "gone"), {"epoll_raw": deep, "trio": deep})
    assert [plot.name for plot in found] == ["flame-1", "flame-2"]
    for plot in found:
        assert 0 < len(marks(plot)) <= flame.MOST_FRAMES
        assert "python: 300 samples, 100.00 % of all, 100.00 µs per request" in marks(plot)
        assert len(plot.frames) < flame.MOST_BYTES // 2 + 1
        assert "g299.19_[k]" in plot.frames


def test_folded_stacks_are_read_again_and_what_is_none_is_named(tmp_path: Path) -> None:
    counts = Counter({("python", "a b", "tcp_[k]"): 3, ("swapper",): 1})
    (tmp_path / "trio.folded").write_text("".join(stacks.lines(counts)) + "cut;off 1")
    assert folded.read(tmp_path, "trio") == counts
    assert folded.read(tmp_path, "gevent") == Counter()
    inner = tmp_path / "inner"
    inner.mkdir()
    assert folded.read(inner, "../trio") == Counter(), "a name leads nowhere else"
    (tmp_path / "bad.folded").write_text("python;a 3\npython;b many\n")
    with pytest.raises(BadInput, match=r"bad\.folded, line 2: is no stack"):
        folded.read(tmp_path, "bad")
