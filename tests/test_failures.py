"""What is counted and said of a backend that fails, whether it is left out for it, and what its client gets to read."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from impls import counters
from impls.backends import Backends
from impls.contract import BAD_GATEWAY, GATEWAY_TIMEOUT
from impls.exchange import Exchange
from impls.failures import Failures
from impls.log import Log, open_file

BACKEND, OTHER = "10.0.0.1:80", "10.0.0.2:80"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
REPLY_TO_ITS_END = b"HTTP/1.0 200 OK\r\n\r\nbody"
NO_ROUTE, NO_PORTS = (OSError(number, os.strerror(number)) for number in (errno.EHOSTUNREACH, errno.EADDRNOTAVAIL))
REFUSED, TIMEOUT, BROKEN = counters.ERROR_BACKEND_REFUSED, counters.ERROR_BACKEND_TIMEOUT, counters.ERROR_BACKEND_BROKEN
FAILURES = (REFUSED, TIMEOUT, BROKEN)


def exchange(came: bytes = b"") -> Exchange:
    made = Exchange()
    made.requests.feed(b"GET / HTTP/1.1\r\n\r\n")
    made.replied(came)
    return made


@contextmanager
def failures(
    log: Path, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Failures[str], Backends[str], memoryview]]:
    row = memoryview(bytearray(counters.ROW_BYTES)).cast("Q")
    backends = Backends([BACKEND, OTHER], 10.0, 3.0, row, clock)
    fd = open_file(str(log))
    try:
        yield Failures(backends, row, Log(fd, "worker 0")), backends, row
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Case:
    """Something that happens to BACKEND, and what comes of it."""

    happens: Callable[[Failures[str]], bytes | None]
    counted: int | None
    said: str
    left_out: bool = False
    client_gets: bytes | None = None


CASES = {
    "it refuses": Case(lambda to: to.refused(BACKEND, NO_ROUTE), REFUSED, "refused: No route to host", left_out=True),
    "it accepts and then resets": Case(
        lambda to: to.refused(BACKEND, NO_ROUTE, is_connected=True), REFUSED, "refused: No route to host"
    ),
    "it accepts and resets before that is told": Case(
        lambda to: to.refused(BACKEND, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        REFUSED,
        "refused: Connection reset by peer",
    ),
    "it fails without an error number": Case(
        lambda to: to.refused(BACKEND, OSError("all failed")), REFUSED, "refused: all failed", left_out=True
    ),
    "there is no port for it here": Case(
        lambda to: to.refused(BACKEND, NO_PORTS), REFUSED, "could not be tried: Cannot assign requested address"
    ),
    "there is no socket for it here": Case(
        lambda to: to.untried(BACKEND, NO_PORTS), REFUSED, "could not be tried: Cannot assign requested address"
    ),
    "there is no descriptor for it in time": Case(
        lambda to: to.untried_in_time(BACKEND), TIMEOUT, "could not be tried in time", client_gets=GATEWAY_TIMEOUT
    ),
    "it does not accept": Case(
        lambda to: to.not_accepted(BACKEND),
        TIMEOUT,
        "did not accept the connection in time",
        left_out=True,
        client_gets=GATEWAY_TIMEOUT,
    ),
    "it is silent": Case(
        lambda to: to.silent(BACKEND, exchange()), TIMEOUT, "did not answer in time", client_gets=GATEWAY_TIMEOUT
    ),
    "it falls silent within its reply": Case(
        lambda to: to.silent(BACKEND, exchange(REPLY[:-1])), TIMEOUT, "did not answer in time", client_gets=b""
    ),
    "it is silent and owes nothing": Case(lambda to: to.silent(BACKEND, exchange(REPLY)), None, "", client_gets=b""),
    "it ends its stream without a reply": Case(
        lambda to: to.ended(BACKEND, exchange(), cleanly=True),
        BROKEN,
        "ended the connection without a reply",
        client_gets=BAD_GATEWAY,
    ),
    "it ends its stream within its reply": Case(
        lambda to: to.ended(BACKEND, exchange(REPLY[:-1]), cleanly=True),
        BROKEN,
        "ended the connection within its reply",
        client_gets=b"",
    ),
    "it ends its stream, which completes the reply": Case(
        lambda to: to.ended(BACKEND, exchange(REPLY_TO_ITS_END), cleanly=True), counters.REQUESTS, "", client_gets=b""
    ),
    "it resets where its end would complete the reply": Case(
        lambda to: to.ended(BACKEND, exchange(REPLY_TO_ITS_END), cleanly=False),
        BROKEN,
        "ended the connection within its reply",
        client_gets=b"",
    ),
    "it resets and owes nothing": Case(
        lambda to: to.ended(BACKEND, exchange(REPLY), cleanly=False), None, "", client_gets=b""
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_comes_of_a_failure(case: Case, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with failures(log) as (to, backends, row):
        assert case.happens(to) == case.client_gets
        assert {kind for kind in (counters.REQUESTS, *FAILURES) if row[kind]} == {case.counted} - {None}
        assert ({*backends.turn(), *backends.turn()} == {OTHER}) == case.left_out
    said = [line.split(": ", 1)[1] for line in log.read_text().splitlines()]
    assert said == ([f"backend {BACKEND} {case.said}"] if case.said else [])


def test_a_trial_that_was_not_made_goes_to_the_next_connection(tmp_path: Path) -> None:
    now_s = 0.0
    with failures(tmp_path / "log", lambda: now_s) as (to, backends, _):
        to.refused(BACKEND, NO_ROUTE)
        now_s = 10.0
        assert [backends.turn() for _ in range(3)] == [(BACKEND, OTHER), (OTHER,), (OTHER,)]
        to.refused(BACKEND, NO_PORTS)
        assert [backends.turn() for _ in range(2)] == [(OTHER, BACKEND), (BACKEND, OTHER)]
