"""What one request takes: reading strace, summing up passes, and the command on running servers."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness.analysis.cost import Cost, Figure, Taken, per_request
from harness.analysis.strace import returned
from harness.cost import counter
from harness.report.cost import render
from harness.report.figures import WIDTH

ROOT = Path(__file__).parent.parent

# What one request takes of epoll_raw: by itself, and in a bunch of 64 what is another figure there.
SHORT = {"accept4": 1, "epoll_ctl": 1, "epoll_wait": 2, "read": 1, "write": 1, "close": 1}
SHORT_IN_A_BUNCH = {**SHORT, "accept4": 65 / 64, "epoll_wait": 12 / 64}
LEAN = {"accept4": 2, "epoll_wait": 1, "preadv2": 1, "write": 1, "close": 1}
LEAN_IN_A_BUNCH = {**LEAN, "accept4": 1, "epoll_wait": 1 / 64}
KEEPALIVE = {"epoll_wait": 1, "read": 1, "write": 1}
KEEPALIVE_IN_A_BUNCH = {**KEEPALIVE, "epoll_wait": 1 / 64}
PROXY = {
    "accept4": 1, "epoll_ctl": 1, "epoll_wait": 5, "read": 2, "write": 1, "pwritev2": 1, "connect": 2, "close": 1,
}  # fmt: skip
LEAN_PROXY = {**PROXY, "accept4": 2, "epoll_wait": 4, "preadv2": 1, "read": 1, "setsockopt": 1}
EXPECTED: Mapping[tuple[str, str], tuple[Mapping[str, float], Mapping[str, float] | None, Mapping[str, int]]] = {
    ("epoll_raw", "short"): (SHORT, SHORT_IN_A_BUNCH, {"in": 5, "out": 5}),
    ("epoll_raw", "keepalive"): (KEEPALIVE, KEEPALIVE_IN_A_BUNCH, {"in": 1, "out": 1}),
    ("epoll_raw", "proxy"): (PROXY, None, {"in": 9, "out": 10, "backend in": 5, "backend out": 4}),
    ("epoll_raw+lean", "short"): (LEAN, LEAN_IN_A_BUNCH, {"in": 4, "out": 3}),
    ("epoll_raw+lean", "keepalive"): (KEEPALIVE, KEEPALIVE_IN_A_BUNCH, {"in": 1, "out": 1}),
    ("epoll_raw+lean", "proxy"): (LEAN_PROXY, None, {"in": 8, "out": 6, "backend in": 3, "backend out": 4}),
}
WAKEUPS = {"short": (1, 1 / 64), "keepalive": (1, 1 / 64), "proxy": (None, None)}

ONE_CALL_MORE = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
real = os.read
def read(fd, size):
    os.getppid()
    return real(fd, size)
os.read = read
from impls.epoll_raw.server import serve
from impls.prefork import main
main("one_more", serve, "a getppid for each read")
"""


@pytest.mark.parametrize(
    ("written", "calls"),
    [
        pytest.param('71 read(5, ""..., 4096)               = 18\n', {"read": 1}, id="with a pid"),
        pytest.param("close(5)                 = 0\nclose(6) = 0\n", {"close": 2}, id="without a pid"),
        pytest.param("71 read(5, 0x7f, 4096) = -1 EAGAIN (Resource)\n", {"read": 1}, id="failed"),
        pytest.param("71 epoll_wait(4, 0x7f, 64, -1) = -1 EINTR (Interrupted system call)\n", {}, id="interrupted"),
        pytest.param("71 select(4, [3], NULL, NULL, NULL) = ? ERESTARTNOHAND (To be restarted)\n", {}, id="restarts"),
        pytest.param("71 restart_syscall(<... resuming interrupted poll ...>) = 1\n", {"poll": 1}, id="goes on"),
        pytest.param(
            '71 read(5,  <unfinished ...>\n72 close(6) = 0\n71 <... read resumed>""..., 10) = 4\n',
            {"close": 1, "read": 1},
            id="threads",
        ),
        pytest.param("71 close(5) = 0\n71 epoll_wait(4, ", {"close": 1}, id="not returned yet"),
        pytest.param("71 epoll_wait(4, [{events=EPOLLIN, data={u32=3}}], 64, -1) = 1\n", {"epoll_wait": 1}, id="="),
        pytest.param("71 --- SIGTERM {si_signo=SIGTERM} ---\n71 +++ killed by SIGKILL +++\n", {}, id="no calls"),
    ],
)  # fmt: skip
def test_calls_are_counted_when_they_have_returned(written: str, calls: Mapping[str, int]) -> None:
    assert returned(written) == calls


def test_what_strace_does_not_write_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="not a line of strace: 'strace: oops'"):
        returned("strace: oops\n")


def test_what_a_hold_takes_by_itself_is_left_out() -> None:
    rounds = [{"read": 20, "getpid": 24, "poll": 4}] * 3
    found = per_request(rounds, requests=20, holds=4, of_a_hold={"getpid": 1.0, "poll": 1.0})
    assert found == {"read": Figure(1, 1, 1), "getpid": Figure(1, 1, 1)}


def test_what_differs_between_rounds_is_shown_and_named() -> None:
    def taken(at_a_time: int, **calls: Figure) -> Taken:
        return Taken(at_a_time=at_a_time, calls=calls, wakeups=None, segments={})

    exact, mixed = Figure(2.0, 2.0, 2.0), Figure(1.5, 1.0, 2.0)
    cost = Cost(impl="mine", workload="short", alone=taken(1, read=exact, brk=mixed), bunch=taken(64, read=exact))
    text = render("short", [cost])
    lines = [line.split() for line in text.splitlines()]
    assert ["read", "2"] in lines
    assert ["brk", "~1.5", "/", "-"] in lines
    assert ["all", "system", "calls", "~3.5", "/", "2"] in lines
    assert "mine, by itself: not the same in every round: brk 1.000 to 2.000." in text
    assert all(len(line) <= WIDTH for line in text.splitlines())


def test_a_counter_counts_what_another_process_does(tool: Callable[[str, str], str]) -> None:
    context_switches = (1, 3)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES: there without a CPU's counter, too
    with subprocess.Popen([tool("cat", "coreutils")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        try:
            with counter.opened([echo.pid], context_switches) as opened:

                def has_switched(before: int) -> bool:
                    return opened.read() > before

                for _ in range(20):
                    assert processes.wait_until(lambda: processes.state(echo.pid) == "sleeping", 10)
                    before = opened.read()
                    echo.stdin.write(b"x")
                    assert echo.stdout.read(1) == b"x"
                    # It goes to sleep again some time after it has answered.
                    assert processes.wait_until(partial(has_switched, before), 10)
        except counter.CannotCount as problem:
            pytest.skip(str(problem))
        finally:
            echo.kill()


def test_what_cannot_be_counted_is_told() -> None:
    with pytest.raises(counter.CannotCount, match="no such counter"), counter.opened([os.getpid()], (999_999, 0)):
        pass


def harness(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", "cost", *arguments]


def counted(folder: Path, *arguments: str) -> dict[tuple[str, str], Any]:
    """Run the command, and return what it found by implementation and workload."""
    file = folder / "cost.json"
    ended = subprocess.run(
        harness("--json", str(file), *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "~" not in ended.stdout.partition("Counted in one worker")[0], ended.stdout
    return {(cost["impl"], cost["workload"]): cost for cost in json.loads(file.read_text())["costs"]}


def values(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in figures.items()}


def test_a_request_takes_of_epoll_raw_what_it_should(tmp_path: Path, tool: Callable[[str, str], str]) -> None:
    tool("strace", "strace")
    found = counted(tmp_path, "--impls", "epoll_raw,epoll_raw+lean")
    assert found.keys() == EXPECTED.keys()
    for case, (calls, in_a_bunch, segments) in EXPECTED.items():
        cost, (_, workload) = found[case], case
        regimes = [cost["alone"], *([cost["bunch"]] if cost["bunch"] else [])]
        assert [values(taken["calls"]) for taken in regimes] == [each for each in (calls, in_a_bunch) if each], case
        wakeups = [taken["wakeups"] and taken["wakeups"]["value"] for taken in regimes]
        assert wakeups == list(WAKEUPS[workload][: len(regimes)]), case
        if cost["alone"]["segments"]:  # there are none on loopback, where namespaces cannot be made
            assert values(cost["alone"]["segments"]) == segments, case


def test_one_system_call_more_is_found(tmp_path: Path, tool: Callable[[str, str], str]) -> None:
    tool("strace", "strace")
    script = tmp_path / "one_more.py"
    script.write_text(ONE_CALL_MORE)
    external = f"one_more={shlex.join([sys.executable, str(script)])}"
    found = counted(tmp_path, "--impls", "none", "--external", external, "--workloads", "keepalive")
    cost = found["one_more", "keepalive"]
    assert values(cost["alone"]["calls"]) == {**KEEPALIVE, "getppid": 1}
    assert values(cost["bunch"]["calls"]) == {**KEEPALIVE_IN_A_BUNCH, "getppid": 1}


def test_an_interrupt_ends_everything(tool: Callable[[str, str], str]) -> None:
    tool("strace", "strace")
    # Many servers, one after the other, are traced for moments each: one of them is seen, however slow this is.
    command = harness("--impls", "epoll_raw,epoll_raw+lean,gevent,uvloop,trio")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            assert processes.wait_until(lambda: is_traced_by_child_of(process.pid), 60)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stderr.endswith(b"harness: interrupted\n")


def is_traced_by_child_of(pid: int) -> bool:
    """Tell whether strace is attached to something: a child of the process traces another child's child."""
    children = processes.children(pid)
    grandchildren = [grandchild for child in children for grandchild in processes.children(child)]
    return any(f"TracerPid:\t{child}\n" in status_of(grandchild) for grandchild in grandchildren for child in children)


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended since it was found


def test_without_strace_it_names_what_to_install() -> None:
    ended = subprocess.run(harness(), cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert ended.returncode == 2
    assert ended.stderr == (
        "harness: error: cost: strace, which counts the system calls, is not on the PATH; it is in the package strace "
        "(Debian: apt-get install strace)\n"
    )
