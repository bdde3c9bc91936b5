"""What a dry run tells: the processes of a plan, the time, and that nothing is done."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from harness import compare, forecast, versions
from harness.report.forecast import Forecast, Processes, Step, render
from harness.schema import Plan
from tests.commands import run
from tests.simulated import cell, planned

ALL = 85


def foretold(plan: Plan, asked: Sequence[int] = (ALL, ALL)) -> Forecast:
    obligations = dict(zip((one.name for one in plan.implementations), asked, strict=True))
    return forecast.forecast(plan, obligations, all_obligations=ALL)


def counts(found: Forecast) -> list[tuple[str, int, str]]:
    return [(one.what, one.number, one.cpus) for one in found.processes]


def step(found: Forecast, begin: str) -> float:
    [seconds] = [one.seconds for one in found.steps if one.what.startswith(begin)]
    return seconds


def test_a_server_is_a_parent_and_its_workers_and_a_proxy_has_a_backend() -> None:
    plan = planned(["a", "b"], cell("proxy", backend=[2, 3]))
    found = foretold(msgspec.structs.replace(plan, testbed="netns"))
    assert counts(found) == [
        ("servers: parents", 2, ""),
        ("servers: workers", 2, "0"),
        ("load generators", 1, "1"),
        ("backend: parent and workers", 3, "2-3"),
    ]
    assert found.holders == 4
    assert "At most 12 processes at once, beside the harness, 4 that hold the namespaces among them." in render(found)


def test_beside_idle_connections_each_server_runs_twice_and_they_are_held() -> None:
    found = foretold(planned(["a", "b"], msgspec.structs.replace(cell(), idle=100)))
    assert counts(found)[0] == ("servers: parents", 4, "")
    assert counts(found)[-1] == ("holders of idle connections", 2, "1")
    assert found.holders == 0


def test_ab_makes_the_load_beside_the_generator_for_the_fixed_rate() -> None:
    found = foretold(msgspec.structs.replace(planned(["a", "b"]), client="ab", slice_s=1.0))
    assert counts(found)[2] == ("load generators", 2, "1")


def test_cells_that_are_measured_together_run_together() -> None:
    two = msgspec.structs.replace(cell(), workers=2, concurrency=200, server_cpus=(0, 2))
    plan = msgspec.structs.replace(planned(["a"], cell(), two), interleaved=True)
    found = foretold(plan, [ALL])
    assert [one.cells for one in found.processes] == ["short/w1/c100 … short/w2/c200"] * 3
    assert counts(found) == [("servers: parents", 2, ""), ("servers: workers", 3, "0,2"), ("load generators", 1, "1")]


def test_cells_with_the_same_processes_are_told_once() -> None:
    found = foretold(planned(["a", "b"], cell("short"), cell("keepalive")))
    assert {one.cells for one in found.processes} == {"short/w1/c100 and 1 more"}
    assert len(found.processes) == 3


def test_the_load_takes_the_budget_and_each_implementation_is_checked() -> None:
    plan = msgspec.structs.replace(planned(["a", "b"], cell("short"), cell("keepalive")), budget_s=100.0, blocks=6)
    found = foretold(plan)
    assert step(found, "load") == pytest.approx(100.0, rel=0.02)
    assert step(found, "to check") == pytest.approx(2 * forecast.CONTRACT_S)
    assert step(foretold(plan, [ALL, 0]), "to check") == pytest.approx(forecast.CONTRACT_S)
    servers = 2 * 6 * (forecast.BLOCK_S + 2 * forecast.SERVER_S)
    assert step(found, "fresh") == pytest.approx(servers + 100.0 / 0.2 * forecast.BETWEEN_SLICES_S, rel=0.02)


def test_what_has_slow_slices_takes_the_fewest_rounds_however_small_the_budget() -> None:
    many = msgspec.structs.replace(cell(), concurrency=2000)
    found = foretold(msgspec.structs.replace(planned(["a", "b"], many), budget_s=1.0))
    assert step(found, "load") == pytest.approx(6 * 2 * 1.5 * 1.0)


@pytest.mark.parametrize(
    ("seconds", "early", "shown"),
    [(69.0, False, "69 s"), (800.0, False, "13 min"), (94_320.0, False, "26.2 h"), (69.0, True, "at most 69 s")],
)
def test_the_whole_is_told_in_a_fitting_unit(seconds: float, shown: str, *, early: bool) -> None:
    found = Forecast([Processes("servers", 1, "0")], 0, [Step("a", seconds - 60), Step("b", 60.0)], early, "Assumed.")
    [whole] = [line for line in render(found).splitlines() if line.startswith("  all of it")]
    assert whole.removeprefix("  all of it").strip() == shown


def test_a_dry_run_is_no_wider_than_it_is_asked_to_be() -> None:
    text = render(Forecast([Processes("servers", 1, "0")], 0, [Step("a", 60.0)], False, "Assumed so. " * 20), 70)  # noqa: FBT003  a field
    begin = text.index("  Assumed")
    assert 60 < max(map(len, text[begin : text.index("This was")].splitlines())) <= 70


def test_a_run_that_is_to_be_precise_may_end_early() -> None:
    plan = planned(["a", "b"])
    assert not foretold(plan).may_end_early
    assert foretold(msgspec.structs.replace(plan, precision=0.02)).may_end_early


@pytest.mark.parametrize("command", ["compare", "scale"])
def test_a_dry_run_does_nothing(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was begun")

    monkeypatch.setattr(compare, "_opened", refuse)
    monkeypatch.setattr(versions, "ask", lambda one: one.name)
    out = tmp_path / "results"
    said = run(command, "--dry-run", "--impls", "epoll_raw", "--out", out, "--json", tmp_path / "x", "--seed", "3")
    assert (said.status, said.err) == (0, "")
    places = [
        said.out.index(part) for part in ("Plan\n", "from seed 3", "What it would take\n", "This was a dry run: ")
    ]
    assert places == sorted(places)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--testbed", "loopback", "--rfs"], "--rfs: loopback receives where it was sent; give --testbed netns, or "),
        (["--server-cpus", "8000"], "--server-cpus 8000: this process may not use CPU 8000"),
        (["--json", "/nosuch/x"], "--json /nosuch/x: cannot be written"),
        (["--slice", "60s", "--budget", "1s"], "--budget 1s: 3 cells x 1 implementation x 6 rounds of 60s"),
        (["--resume", "x"], "--dry-run: not beside --resume"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "ask", lambda one: one.name)
    impls = [] if "--resume" in arguments else ["--impls", "epoll_raw"]
    said = run("compare", "--dry-run", *impls, *arguments)
    assert said.is_one_line_of_error
    assert said.err.startswith(f"harness: error: {why}")
