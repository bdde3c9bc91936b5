"""The parent process: nothing that happens to its output keeps it from serving or from ending."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from harness import ports, processes
from harness.registry import ROOT, find
from harness.servers import REQUEST

[REFERENCE] = find("epoll_raw")
STARTS_WITHIN_S, ENDS_WITHIN_S = 10.0, 10.0
"""What these tests are about would last for ever. How soon a server has to end, its conformance cases ask."""


@contextmanager
def serving(
    flags: Sequence[str], *, shell: str = "", **streams: Any
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run the reference until it answers, with its standard streams as given; ``shell`` is for redirections."""
    with ports.reserve("127.0.0.1") as address:
        command = [*REFERENCE.argv, "-w", "1", "-a", address, "-o", "/dev/null", *flags]
        if shell:
            command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
        with subprocess.Popen(command, cwd=ROOT, **streams) as running:
            try:
                assert processes.wait_until(lambda: answers(address), STARTS_WITHIN_S)
                yield running, address
            finally:
                running.kill()


def answers(address: str) -> bool:
    try:
        with socket.create_connection(ports.split(address), STARTS_WITHIN_S) as client:
            client.sendall(REQUEST)
            return client.recv(4096).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def expect_end(running: "subprocess.Popen[bytes]") -> None:
    running.send_signal(signal.SIGTERM)
    assert running.wait(ENDS_WITHIN_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_was_connected_when_a_signal_came_at_the_start_is_answered(number: signal.Signals) -> None:
    with ports.reserve("127.0.0.1") as address:
        # With the usual grace the client would have a second to send its request.
        command = [*REFERENCE.argv, "-w", "1", "-a", address, "-o", "/dev/null", "--grace", "60"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
            try:
                with closing(connected_at_once(address)) as client:
                    running.send_signal(number)
                    client.sendall(REQUEST)
                    assert client.recv(4096).startswith(b"HTTP/1.0 200")
                assert "Traceback" not in running.communicate(timeout=STARTS_WITHIN_S)[1]
            finally:
                running.kill()
    assert running.returncode == 0


def connected_at_once(address: str) -> socket.socket:
    """Connect as soon as somebody listens, which is before anybody accepts."""
    until_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until_s:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(ports.split(address), STARTS_WITHIN_S)
    raise AssertionError(f"nobody listens on {address}")


def test_a_standard_error_that_nobody_reads_delays_no_signal() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as full:
        while full.write(bytes(4096)):
            pass
        os.set_blocking(writing, True)
        with serving(["-v"], stderr=writing) as (running, address):
            assert not processes.wait_ended(running.pid, 1.2)  # for longer than the second after which it prints
            assert answers(address)
            expect_end(running)


@pytest.mark.parametrize("shell", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_without_standard_streams_it_serves_all_the_same(shell: str) -> None:
    with serving(["-v"], shell=shell) as (running, address):
        assert not processes.wait_ended(running.pid, 1.2)
        assert answers(address)
        expect_end(running)


def test_a_log_that_cannot_be_written_costs_no_connection() -> None:
    with serving(["-d", "-o", "/dev/full"], stderr=subprocess.DEVNULL) as (running, address):
        assert all(answers(address) for _ in range(5))
        expect_end(running)


def test_the_seconds_add_up_to_what_was_answered_the_last_part_of_one_included() -> None:
    with serving(["--grace", "60"], stderr=subprocess.PIPE) as (running, address):
        assert running.stderr is not None
        assert all(answers(address) for _ in range(20))
        expect_end(running)
        printed = running.stderr.read().decode()
    # One more when it began. The last reply leaves before it is counted; within the grace the worker gets there.
    assert sum(map(int, re.findall(r"^Request/s (\d+)$", printed, re.MULTILINE))) == 21, printed


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["-a", "a\nb"], "a\\nb"),
        (["-o", "/nosuch\n/log"], "/nosuch\\n/log"),
        (["-w", "9" * 5000], "is not a number of workers from 1"),
        (["-c", "9" * 5000], "is not the number of a CPU"),
        (["-a", "127.0.0.1:" + "9" * 5000], "is not a number from 1 to 65535"),
        (["-a", "127.0.0.1:1 127.0.0.1:2"], "give one IP:PORT"),
        (["-a", "*:8080"], "0.0.0.0:PORT"),
    ],
)
def test_bad_input_of_any_kind_is_one_line(flags: list[str], named: str) -> None:
    command = [*REFERENCE.argv, "-w", "1", *flags]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=STARTS_WITHIN_S)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("impls.epoll_raw: error: ")
    assert result.stderr.count("\n") == 1
    assert named in result.stderr
