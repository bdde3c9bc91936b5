"""The cross-check: what its turns are taken for, and the command from end to end."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.crosscheck import BUILTIN, Crosscheck, Turn, Turns, sum_up
from harness.report.crosscheck import render
from harness.report.figures import WIDTH

ROOT = Path(__file__).parent.parent
ROUNDS = 10
WALL_NS = 1_000_000_000


def turns(rate_rps: float, *, client: float = 0.5, server: float = 0.5, errors: int = 0) -> Turns:
    """Make turns that scatter a little around a rate, with sides that are busy for such shares of the time."""
    return {
        number: Turn(
            rate_rps=rate_rps * (1 + 0.01 * (-1) ** number),
            requests=round(rate_rps),
            errors={"timeout": errors} if errors else {},
            wall_ns=WALL_NS,
            client_cpu_ns=[round(client * WALL_NS)],
            server_cpu_ns=round(server * WALL_NS),
        )
        for number in range(ROUNDS)
    }


def found(builtin: Turns, ab: Turns) -> tuple[Crosscheck, str]:
    crosscheck = sum_up({BUILTIN: builtin, "ab": ab}, 1, 1, "test")
    return crosscheck, render("TITLE", crosscheck)


def shifted(given: Turns, share: float) -> Turns:
    """Give the turns in another scatter, so that the ratio has an interval."""
    return {
        number: Turn(
            rate_rps=turn.rate_rps * (1 + share * ((number % 3) - 1)),
            requests=turn.requests,
            wall_ns=turn.wall_ns,
            client_cpu_ns=turn.client_cpu_ns,
            server_cpu_ns=turn.server_cpu_ns,
        )
        for number, turn in given.items()
    }


@pytest.mark.parametrize(
    ("builtin", "ab", "finding", "said"),
    [
        pytest.param(
            turns(1000, server=0.95), shifted(turns(1000, server=0.95), 0.02), "agree", "ab agrees", id="equal"
        ),
        pytest.param(
            turns(1000, client=0.99, server=0.6), turns(900, client=0.99, server=0.5), "client-bound",
            "because a client was the limit", id="the client is the limit",
        ),
        pytest.param(
            turns(1000, server=0.95), turns(900, server=0.95), "server-bound", "ab DISAGREES, 1.111",
            id="the server is the limit",
        ),
        pytest.param(turns(1000), turns(900), "unsaturated", "no CPU was busy enough", id="nothing is the limit"),
        pytest.param(
            turns(1000), turns(0, errors=7), "no-figures", "because ab got no correct reply (70 timeout)", id="errors"
        ),
    ],
)  # fmt: skip
def test_a_difference_is_put_down_to_what_was_the_limit(builtin: Turns, ab: Turns, finding: str, said: str) -> None:
    crosscheck, text = found(builtin, ab)
    [comparison] = crosscheck.comparisons
    assert comparison.finding == finding
    assert said in " ".join(text.split())
    assert all(len(line) <= WIDTH for line in text.splitlines())


def test_the_ratio_is_of_the_builtin_generator_to_the_witness() -> None:
    crosscheck, text = found(turns(2000, client=0.5), turns(1000, client=1.0))
    [comparison] = crosscheck.comparisons
    assert comparison.rate.value == pytest.approx(2)
    assert comparison.rate_per_cpu.value == pytest.approx(4)
    assert comparison.server_cpu_per_request.value == pytest.approx(0.5)
    assert re.search(r"^ab +1,000 +2\.000 +1,000 +4\.000 +100 % +50 % +500\.0 +0$", text, re.MULTILINE)


def harness(*arguments: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "harness", "crosscheck", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, env=None if path is None else {"PATH": path},
    )  # fmt: skip


def test_the_command_compares_with_ab_on_a_running_server(tool: Callable[[str, str], str]) -> None:
    tool("ab", "apache2-utils")
    ended = harness("--clients", "ab", "--turns", "3", "--workloads", "short", "--concurrency", "1", "--seed", "1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SHORT on epoll_raw: 1 connection, 3 turns of 1 s each, 1 client CPU" in ended.stdout
    for client in ("built-in", "ab"):
        assert re.search(rf"^{client} +[1-9][0-9,]+ .* 0$", ended.stdout, re.MULTILINE), ended.stdout
    assert re.search(r"^  ab (agrees|differs|DISAGREES)", ended.stdout, re.MULTILINE)


def test_without_another_generator_it_names_what_to_install() -> None:
    ended = harness(path="")
    assert ended.returncode == 2
    assert ended.stderr == (
        "harness: error: crosscheck: no other load generator is on the PATH; install ab (Debian: apt-get install "
        "apache2-utils) or wrk (Debian: apt-get install wrk)\n"
    )
