"""Texts as a user mistypes them, and as programs beside us print them: taken, or refused in the one documented way."""

import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import ports
from harness.analysis import strace
from harness.conformance.reply import Reply, head_length
from harness.conformance.violation import ContractViolation
from harness.errors import BadInput
from harness.loadgen import GeneratorFailed, Job
from harness.loadgen.witnesses import Ab, Witness, Wrk
from harness.loadgen.witnesses.base import Printed
from harness.options import Counts, CpuList, Duration, FileName, Names, Number, Percentage
from harness.peers import PEERS
from harness.peers import flags as peer_flags
from harness.registry import find
from harness.schema import LARGEST
from harness.testbed import cpus
from harness.variants import LISTEN_MODES
from harness.worker_statistics import WorkerStatistics
from impls import addresses, flags
from impls.contract import Options
from tests import hostile

MANY = settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FLAGS = (
    *("-w", "--workers", "-c", "--start-cpu", "--oversubscribe", "-a", "--address", "-x", "--backend", "-k", "--lean"),
    *("-o", "--log-file", "-v", "-d", "--connect-timeout", "--reply-timeout", "--idle-timeout", "--max-connections"),
    *(
        "--grace",
        "--backend-rest",
        "--user",
        "--help",
        "--version",
        "--",
        "-",
        "-wx",
        "-w1",
        "--workers=2",
        "-kv",
        "@x",
        "--listen",
        "--listen=percpu",
    ),
)
PIECES = (
    *("", "0", "1", "2", "00", "-1", "+1", "1e3", "1e999", "nan", "inf", "0x10", "\u0661", "\u00b2", "9" * 5000, "1_0"),
    *("127.0.0.1:80", "[::1]:80", "::1:80", "[::1%lo]:80", ":80", "127.0.0.1:", "127.0.0.1:99999", "*:80", "a" * 300),
    *("[]:80", "1.2.3.4.5:80", "x\x00y:80", "\udcff:80", "0-3", "3-0", "1,,2", "5%", "5ms", "all", "none", "+lean"),
    *("epoll_raw", "epoll_raw+lean", "a=b", "=", "a='", "a=true", "../x=true", *hostile.MARKUP, *hostile.INVISIBLE),
    *(*LISTEN_MODES, "+percpu", "epoll_raw+shared", "trio+reuseport+lean"),
)
TEXTS = st.one_of(
    st.sampled_from(PIECES), st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
)
ARGUMENTS = st.lists(st.one_of(st.sampled_from(FLAGS), TEXTS), max_size=8)


def numeric_alone(host: str | None, port: int, **hints: int) -> Any:
    """Look nothing up: a test must not depend on a name server."""
    return _LOOK_UP(host, port, flags=socket.AI_NUMERICHOST, **hints)


_LOOK_UP = socket.getaddrinfo


@pytest.fixture(autouse=True)
def _no_name_server() -> Iterator[None]:
    with mock.patch.object(socket, "getaddrinfo", numeric_alone):
        yield


def check(options: Options) -> None:
    assert options.cpus
    assert options.listen_mode in LISTEN_MODES
    assert all(addresses.resolve(str(address)) == address for address in (*options.addresses, *options.backends))
    assert all(
        flags.MIN_TIMEOUT_S <= one <= flags.MAX_TIMEOUT_S
        for one in (options.connect_timeout_s, options.reply_timeout_s)
    )


@MANY
@given(argv=ARGUMENTS)
def test_the_flags_of_a_server_are_anything__it_gets_options_or_ends_with_status_2_and_one_line(
    argv: list[str],
) -> None:
    with mock.patch.object(flags, "say") as say, mock.patch.object(sys, "stdout"):
        try:
            options = flags.parse(argv, "epoll_raw", "x", exclusive=True)
        except SystemExit as end:
            status = end.code
        else:
            check(options)
            return
    assert (status, say.call_count) in {(0, 0), (2, 1)}


@MANY
@given(argv=ARGUMENTS, name=st.sampled_from(sorted(PEERS)))
def test_the_flags_of_a_peer_are_anything__it_gets_them_or_ends_with_one_line(
    argv: list[str], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peer_flags, "_raise_limit", lambda: 1024)
    monkeypatch.setattr(peer_flags, "_version", lambda _: "1.0")
    monkeypatch.setattr(peer_flags, "_check_log", lambda _: None)
    said = StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(StringIO()):
            assert peer_flags.parse(PEERS[name], argv).cpus
    except BadInput:
        return
    except SystemExit as end:
        status = end.code or 0
    else:
        return
    assert (status, said.getvalue().count("\n")) in {(0, 0), (2, 1)}


@MANY
@given(text=TEXTS)
@example(text="[:1")
def test_an_address_is_anything__it_is_refused_or_comes_back_the_same(text: str) -> None:
    try:
        host, port = addresses.split(text)
    except ValueError:
        return
    assert 1 <= port <= addresses.MAX_PORT
    assert ports.split(ports.join(host, port)) == (host, port)
    try:
        found = addresses.resolve(text)
    except ValueError:
        return
    assert addresses.resolve(str(found)) == found


OPTIONS: dict[str, tuple[click.ParamType[Any], Callable[[Any], bool]]] = {
    "Duration": (Duration(0.1, 86400), lambda found: 0.1 <= found <= 86400),
    "Names": (Names(("a", "b")), lambda found: {*found} <= {"a", "b"}),
    "Counts": (Counts(4096), lambda found: all(1 <= one <= 4096 for one in found)),
    "Number": (Number(2**32 - 1), lambda found: 0 <= found < 2**32),
    "Percentage": (Percentage(0.1, 50), lambda found: 0.001 <= found <= 0.5),
    "CpuList": (CpuList(), lambda found: bool(found) and cpus.parse(cpus.write(found)) == found),
    "FileName": (FileName(), lambda found: isinstance(found, Path)),
}


@pytest.mark.parametrize("name", OPTIONS)
@MANY
@given(text=st.one_of(TEXTS, st.text("0123456789.,-ms% ", max_size=12)))
def test_an_option_is_anything__it_is_in_its_range_or_refused(name: str, text: str) -> None:
    kind, is_right = OPTIONS[name]
    try:
        found = kind.convert(text, None, None)
    except click.BadParameter:
        return
    assert is_right(found)


@MANY
@given(names=TEXTS, externals=st.lists(st.one_of(TEXTS, TEXTS.map("name=".__add__)), max_size=3))
def test_names_of_servers_are_anything__they_are_found_or_refused(names: str, externals: list[str]) -> None:
    try:
        found = find(names, externals)
    except BadInput:
        return
    assert found
    assert len({one.name for one in found}) == len(found)
    assert all(one.argv for one in found)


JOB = Job(
    workload="keepalive",
    targets=[("127.0.0.1", 1)],
    concurrency=10,
    duration_s=1.0,
    reply=b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    timeout_s=2.0,
)
COUNTS = st.one_of(
    st.integers(-1, 10**6).map(str), st.sampled_from(PIECES), st.sampled_from(["1.2.3", "...", "1" * 30])
)
AB = st.tuples(*[COUNTS] * 8).map(
    lambda n: (
        f"Document Length:        {n[0]} bytes\nComplete requests:      {n[1]}\nFailed requests:        {n[2]}\n"
        f"   (Connect: {n[3]}, Receive: {n[3]}, Length: {n[4]}, Exceptions: {n[4]})\nKeep-Alive requests:    {n[5]}\n"
        f"Non-2xx responses:      {n[6]}\nRequests per second:    {n[7]} [#/sec] (mean)\n"
    )
)
KEYS = ("requests", "duration_us", "bytes", "connect", "read", "write", "status", "timeout")
WRK = st.tuples(*[COUNTS] * 9).map(
    lambda n: (
        "{" + ",".join(f'"{key}":{count}' for key, count in zip(KEYS, n, strict=False)) + f',"quantiles_us":[{n[8]}]}}'
    )
)
CSV = st.lists(COUNTS, max_size=5).map(
    lambda ms: "Percentage served,Time in ms\n" + "".join(f"1,{one}\n" for one in ms)
)


def as_read(text: str) -> str:
    """Return a text as it is when it was read from a file, where what is no UTF-8 is replaced."""
    return text.encode(errors="surrogatepass").decode(errors="replace")


@pytest.mark.parametrize("witness", [Ab, Wrk])
@settings(MANY, max_examples=300)
@given(
    stdout=st.one_of(AB, WRK, TEXTS),
    stderr=TEXTS,
    quantiles=st.one_of(CSV, TEXTS),
    status=st.sampled_from([0, 0, 0, 1, -9]),
)
@example(stdout="[" * 100_000, stderr="", quantiles="", status=0)
@example(stdout="Complete requests:      7\nFailed requests:        0\nDocument Length:        5 bytes\n"
         "Keep-Alive requests:    7\nRequests per second:    0.00\n", stderr="", quantiles="", status=0)  # fmt: skip
@example(stdout=f"Complete requests:      {'9' * 400}\n", stderr="", quantiles="", status=0)
@example(stdout="", stderr="x" * 10**6, quantiles="", status=1)
def test_a_load_program_prints_anything__its_figures_can_be_stored_or_the_generator_has_failed(
    witness: type[Witness], stdout: str, stderr: str, quantiles: str, status: int
) -> None:
    try:
        tally = witness.read(JOB, Printed(status, *map(as_read, (stdout, stderr, quantiles))))
    except GeneratorFailed:
        return
    counts = [tally.requests, tally.duration_ns, *tally.quantiles_ns, *tally.errors.values()]
    assert all(isinstance(count, int) and 0 <= count <= LARGEST for count in counts)
    assert all(len(kind) < 300 for kind in tally.errors)


LINES = (
    *(
        'read(3, "x", 4) = 1',
        "17 read(3, ) = ? ERESTARTSYS",
        "<... read resumed>) = 0",
        "epoll_wait(4 <unfinished ...>",
    ),
    *("restart_syscall(<... resuming interrupted poll ...>) = 0", "--- SIGCONT ---", "+++ exited +++", "= = = (", ""),
)
CALLS = st.lists(st.sampled_from(LINES)).map("\n".join)


@MANY
@given(text=st.one_of(CALLS, st.text(max_size=80), TEXTS))
def test_strace_prints_anything__calls_are_counted_or_the_line_is_named(text: str) -> None:
    try:
        found = strace.returned(text)
    except ValueError as error:
        assert str(error).startswith("not a line of strace: ")  # noqa: PT017  the other way out is as good
        return
    assert sum(found.values()) <= text.count("\n") + len(text.splitlines())


REPLIES = st.lists(
    st.sampled_from(
        [b"HTTP/1.0 200 OK", b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"5", b"9" * 5000, b"\xb2", b":", b"x", b"\x00"]
    )
).map(b"".join)


@MANY
@given(raw=st.one_of(REPLIES, st.binary(max_size=60)))
@example(raw=b"HTTP/1.0 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
def test_a_checked_server_answers_anything__the_reply_is_taken_apart_or_is_a_violation(raw: bytes) -> None:
    if not head_length(raw):
        return
    try:
        reply = Reply.parse(raw, "a reply")
    except ContractViolation:
        return
    assert reply.raw == raw
    assert reply.raw.endswith(reply.body)
    assert reply.content_length is None or reply.content_length >= 0
    assert reply.status == "" or " " not in reply.status


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([b"worker 0 cpu 0 requests 5 accepted 7 errors"], [7, 0]),
        (
            [b"worker " + b"1" * 5000 + b" cpu 0 requests 5 accepted 7 x", b"worker 1 cpu 0 requests 5 accepted 2 x"],
            [0, 2],
        ),
        ([b"worker 0 cpu 0 requests 5 accepted " + b"7" * 5000 + b" x"], []),
        ([b"\x00\xff\x1b", b""], []),
    ],
)
def test_a_server_prints_figures_that_cannot_be__they_are_left_out(
    tmp_path: Path, lines: Sequence[bytes], told: list[int]
) -> None:
    stderr = tmp_path / "server.err"
    stderr.write_bytes(b"".join(line + b"\n" for line in lines))
    assert WorkerStatistics(stderr, 2)().accepted == told


def test_a_server_prints_a_line_without_end__what_follows_it_is_still_read(tmp_path: Path) -> None:
    stderr = tmp_path / "server.err"
    stderr.write_bytes(b"x" * 3_000_000 + b"\nworker 1 cpu 0 requests 5 accepted 2 x\n")
    told = WorkerStatistics(stderr, 2)
    assert [0, 2] in [told().accepted for _ in range(4)]
