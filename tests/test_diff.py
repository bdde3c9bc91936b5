"""Two runs compared: the interval holds what it claims to, planted changes are found, and nothing else is claimed."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import chi2, t

from harness.analysis.comparison import compare
from harness.analysis.diff import Diff, Judged, choose_reference, compare_runs, ratio_of
from harness.cli import cli
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.report import diff as diff_report
from harness.results import RunFolder
from harness.schema import Estimate, Plan
from tests.simulated import Server, cell, measure, planned

NAMES = ("epoll_raw", "uvloop", "trio")
SERVERS = {"epoll_raw": Server(15_000), "uvloop": Server(13_000), "trio": Server(6_000)}
PLAN = planned(NAMES)


def judged(servers: Mapping[str, Server], plan: Plan = PLAN, *, speed: float = 1.0, seed: int = 1) -> Judged:
    """Judge a run on a machine that is so many times as fast."""
    faster = {name: replace(server, rate_rps=server.rate_rps * speed) for name, server in servers.items()}
    return Judged(plan, compare(plan, measure(plan, faster, noise=0.02, seed=seed), {}), Environment())


def outcomes(diff: Diff) -> dict[str, str]:
    return {change.impl: change.outcome for change in diff.changes}


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(11)
    spread, rounds, runs, truth = (0.05, 0.15), 20, 4000, 1.1
    factor = t.ppf(0.975, rounds - 1) / math.sqrt(rounds)

    def estimates(true_log: float, sigma: float) -> list[Estimate]:
        logs = rng.normal(true_log, sigma, (runs, rounds))
        return [
            Estimate(*(math.exp(mean + side * half) for side in (0, -1, 1)))
            for mean, half in zip(logs.mean(axis=1), factor * logs.std(axis=1, ddof=1), strict=True)
        ]

    new, old = estimates(math.log(truth), spread[0]), estimates(0.0, spread[1])
    held = sum(ratio_of(*pair).holds(truth) for pair in zip(new, old, strict=True)) / runs
    assert 0.94 < held < 0.965


def test_lopsided_intervals_stay_so() -> None:
    rng = np.random.default_rng(12)
    runs, truth = 4000, 1.5

    def estimates(true_mean: float, count: int) -> list[Estimate]:
        means = rng.exponential(true_mean, (runs, count)).mean(axis=1)
        # Exact for the mean of an exponential distribution.
        least, most = (float(chi2.ppf(share, 2 * count)) / (2 * count) for share in (0.025, 0.975))
        return [Estimate(mean, mean / most, mean / least) for mean in means]

    found = [ratio_of(*pair) for pair in zip(estimates(truth, 3), estimates(1.0, 60), strict=True)]
    above = sum((one.low or 0) > truth for one in found) / runs
    below = sum((one.high or 0) < truth for one in found) / runs
    assert above == pytest.approx(0.025, abs=0.008)
    assert below == pytest.approx(0.025, abs=0.008)


def test_no_claim_gives_no_claim() -> None:
    known = Estimate(1.0, 0.9, 1.1)
    assert (
        ratio_of(Estimate(), known) == ratio_of(known, Estimate()) == ratio_of(Estimate(0, 0, 0), known) == Estimate()
    )
    assert ratio_of(known, Estimate(1.0, 1.0, 1.0)).value == 1.0


def test_another_days_machine_is_no_change() -> None:
    diff = compare_runs(judged(SERVERS), judged(SERVERS, speed=1.7, seed=2))
    assert outcomes(diff) == {"uvloop": "no change shown", "trio": "no change shown"}
    assert diff.missing == diff.differences == ()
    assert "no change is shown in 2 of 2 comparisons" in diff_report.render(diff)


def test_a_planted_change_is_found_with_its_size_and_sign() -> None:
    diff = compare_runs(judged(SERVERS), judged({**SERVERS, "trio": Server(5_400)}, seed=2))
    assert outcomes(diff) == {"uvloop": "no change shown", "trio": "worse"}
    trio = diff.changes[1]
    assert trio.throughput.holds(0.9)
    assert trio.decides == "throughput"
    assert trio.is_worse_by(0.05)
    assert not trio.is_worse_by(0.15)
    text = diff_report.render(diff, fail_if_slower=0.05)
    assert "trio is slower on short/w1/c100, by " in text
    assert "Worse by more than 5.0 %: trio on short/w1/c100." in text
    back = compare_runs(judged({**SERVERS, "trio": Server(5_400)}, seed=2), judged(SERVERS))
    assert outcomes(back)["trio"] == "better"
    assert not any(change.is_worse_by(0.01) for change in back.changes)
    assert "No change for the worse of more than 5.0 % is shown." in diff_report.render(back, fail_if_slower=0.05)


def test_where_the_server_was_not_the_limit_throughput_is_shown_but_the_cpu_decides() -> None:
    """Trio has a better ratio of rates in the new run, where all were held back, but needs more CPU for each."""
    limited = {
        "epoll_raw": Server(15_000, 0.50, 0.98),
        "uvloop": Server(13_000, 0.45, 0.98),
        "trio": Server(7_000, 0.80, 0.98),
    }
    diff = compare_runs(judged(SERVERS), judged(limited, seed=2))
    trio = diff.changes[1]
    assert (trio.old_verdict, trio.new_verdict) == ("server-bound", "client-bound")
    assert (trio.throughput.value or 0) > 1.1
    assert (trio.decides, trio.outcome) == ("cpu", "worse")
    text = diff_report.render(diff)
    assert "trio needs more CPU per request on short/w1/c100" in text
    assert f"({trio.throughput.value:.3f})" in text


def test_throughput_does_not_count_where_the_reference_was_held_back() -> None:
    held_back = {**SERVERS, "epoll_raw": Server(15_000, 0.50, 0.98)}
    diff = compare_runs(judged(SERVERS), judged(held_back, seed=2))
    assert {change.new_verdict for change in diff.changes} == {"server-bound"}
    assert {change.decides for change in diff.changes} == {"cpu"}


def test_what_only_one_run_has_is_named() -> None:
    old = planned(NAMES, cell("short"), cell("keepalive"))
    new = planned(("epoll_raw", "trio", "gevent"), cell("short"), cell("proxy"), broken={"trio": ["PROC-SIGINT"]})
    servers = {**SERVERS, "gevent": Server(9_000)}
    now = judged({name: servers[name] for name in ("epoll_raw", "gevent")}, new)
    diff = compare_runs(judged(SERVERS, old), now)
    assert diff.missing == (
        "keepalive/w1/c100: only in OLD",
        "uvloop: only in OLD",
        "proxy/w1/c100: only in NEW",
        "gevent: only in NEW",
        "trio on short/w1/c100: has figures in OLD alone; in the other run it is not-conformant",
    )
    assert outcomes(diff) == {"trio": "unknown"}
    assert "nothing can be said of 1" in diff_report.render(diff)


def test_other_conditions_are_named() -> None:
    new = msgspec.structs.replace(PLAN, testbed="netns", cells=(msgspec.structs.replace(cell(), server_cpus=(3,)),))
    diff = compare_runs(judged(SERVERS), judged(SERVERS, new))
    assert diff.differences == (
        "testbed: loopback then, netns now",
        "CPUs of short/w1/c100: server 0, generator 1 then, server 3, generator 1 now",
    )
    assert "\n  testbed: loopback then, netns now\n" in diff_report.render(diff)


def test_a_run_for_scaling_is_told_from_one_cell_after_the_other() -> None:
    together = msgspec.structs.replace(PLAN, interleaved=True)
    old, new = judged(SERVERS), judged(SERVERS, together)
    for diff, then, now in (
        (compare_runs(old, new), "one after the other", "all up together, slice by slice"),
        (compare_runs(new, old), "all up together, slice by slice", "one after the other"),
    ):
        assert f"cells of a workload: {then} then, {now} now" in diff.differences
        assert not any("scaling" in line for line in diff.missing)
    both = compare_runs(new, judged(SERVERS, together, seed=2))
    assert not any(line.startswith("cells of a workload") for line in both.differences)
    assert "speed-up, efficiency and laws of scaling: each run's report has its own" in both.missing


def test_the_reference_is_one_that_both_runs_have() -> None:
    other = planned(("trio", "uvloop", "epoll_raw"))
    assert choose_reference(PLAN, PLAN, None) == "epoll_raw"
    assert choose_reference(PLAN, other, None) == "epoll_raw"
    assert choose_reference(PLAN, other, "uvloop") == "uvloop"
    assert choose_reference(PLAN, planned(("uvloop", "trio")), None) == "uvloop"
    broken = planned(NAMES, broken={"epoll_raw": ["PROC-SIGINT"]})
    assert choose_reference(broken, PLAN, None) == "uvloop"


@pytest.mark.parametrize(
    ("new", "asked", "expected"),
    [
        (planned(("gevent", "other")), None, "two implementations that were measured in both runs; none was"),
        (planned(("gevent", "trio")), None, "two implementations that were measured in both runs; these were: trio"),
        (PLAN, "gevent", "--reference gevent: was not measured in both runs; these were: epoll_raw, uvloop, trio"),
        (planned(NAMES, cell("proxy")), None, "no cell in common: short/w1/c100 in OLD, proxy/w1/c100 in NEW"),
    ],
)
def test_runs_that_share_too_little_are_refused(new: Plan, asked: str | None, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        choose_reference(PLAN, new, asked)


def test_it_fits_in_120_columns_and_a_hostile_name_stays_text() -> None:
    names = ("epoll_raw", "an-external-with-a-name-much-too-long-for-a-table-of-any-kind", "evil\x1b[2J")
    plan = planned(names, cell("short"), cell("proxy"))
    servers = dict(zip(names, SERVERS.values(), strict=True))
    text = diff_report.render(compare_runs(judged(servers, plan), judged(servers, plan)), fail_if_slower=0.05)
    assert max(map(len, text.splitlines())) <= 120
    assert "\x1b" not in text


def test_cpu_that_was_counted_differently_is_not_compared() -> None:
    """One run counts all that the server's CPUs did, the other its processes alone."""
    unwatched = {name: replace(server, watched=False) for name, server in SERVERS.items()}
    old, new = judged(unwatched), judged(unwatched, seed=2)
    cells = [
        msgspec.structs.replace(
            entry, cpu_us_per_request=msgspec.structs.replace(entry.cpu_us_per_request, softirq=softirq)
        )
        for entry, softirq in zip(new.summary.cells, (None, None, 5.0), strict=True)
    ]
    diff = compare_runs(old, replace(new, summary=msgspec.structs.replace(new.summary, cells=tuple(cells))))
    assert [change.cpu.value is None for change in diff.changes] == [False, True]
    assert diff.missing == (
        "CPU of trio on short/w1/c100: one run counts what its CPUs did, the other its processes alone",
    )


def test_the_command_takes_folders_and_fails_where_it_was_told_to(tmp_path: Path) -> None:
    old, new = stored(tmp_path / "old", SERVERS, 1), stored(tmp_path / "new", {**SERVERS, "trio": Server(5_000)}, 2)

    def status(*arguments: str | Path) -> int:
        result = CliRunner().invoke(cli, ["diff", *map(str, arguments)], standalone_mode=False)
        assert ("against uvloop" if "uvloop" in arguments else "against epoll_raw") in result.output
        return int(result.return_value)

    assert status(old, new, "--fail-if-slower", "5%") == 1
    assert status(old, new, "--fail-if-slower", "50%") == 0
    assert status(old, new) == 0
    assert status(new, old, "--fail-if-slower", "5%") == 0
    file = tmp_path / "diff.json"
    assert status(old, new, "--reference", "uvloop", "--json", file) == 0
    assert outcomes(_read(file)) == {"epoll_raw": "no change shown", "trio": "worse"}
    assert all(change.throughput.low != change.throughput.high for change in _read(file).changes)
    assert status(old, new, "--json", file) == 0
    assert outcomes(_read(file)) == {"uvloop": "no change shown", "trio": "worse"}


def _read(file: Path) -> Diff:
    return msgspec.json.decode(file.read_bytes(), type=Diff)


def stored(out: Path, servers: Mapping[str, Server], seed: int) -> Path:
    with RunFolder.create(out, PLAN) as folder:
        for piece in measure(PLAN, servers, noise=0.02, rounds=20, seed=seed):
            folder.append_slice(piece)
    return folder.path
