"""Who is to move, what is owed and whether a close may destroy the reply, in every state an exchange can be in."""

from dataclasses import dataclass

import pytest

from impls.exchange import Exchange

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"
NOT_HTTP = b"PING\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
HALF_A_REPLY = REPLY[:-2]
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class State:
    """What has happened by now; the backend has accepted, and taken what there is of the request, unless ``unsent``."""

    sent: bytes = GET
    came: bytes = b""
    unsent: bool = False
    half_closed: bool = False
    delivering: bool = False
    unread: bool = False

    def exchange(self) -> Exchange:
        """Make an exchange that has come to this."""
        exchange = Exchange()
        exchange.requests.feed(self.sent)
        exchange.replied(self.came)
        exchange.unsent, exchange.half_closed = self.unsent, self.half_closed
        exchange.delivering, exchange.unread = self.delivering, self.unread
        return exchange


CLIENT, BACKEND, NOBODY = "client", "backend", "nobody"

IS_TO_MOVE = {
    "a request that no backend has taken is not idle": (State(unsent=True), BACKEND),
    "nor one that a backend takes slowly, though half of it is still to come": (
        State(HALF_A_BODY, unsent=True),
        BACKEND,
    ),
    "a reply that has not begun is waited for": (State(), BACKEND),
    "so is the rest of one": (State(came=HALF_A_REPLY), BACKEND),
    "and the real one after an interim one": (State(came=INTERIM), BACKEND),
    "and the second of two": (State(GET + GET, REPLY), BACKEND),
    "a client that stops within its head is not waited for as if it were the backend": (State(HALF_A_HEAD), CLIENT),
    "nor one that stops within its body": (State(HALF_A_BODY), CLIENT),
    "even if its reply has come": (State(HALF_A_BODY, REPLY), CLIENT),
    "but one that has ended its stream there has said all": (State(HALF_A_BODY, half_closed=True), BACKEND),
    "what is not HTTP may be answered at any time": (State(NOT_HTTP), BACKEND),
    "a slow reader is not the backend's fault": (State(came=HALF_A_REPLY, delivering=True), CLIENT),
    "nor is one whose request the backend does not take meanwhile": (State(unsent=True, delivering=True), CLIENT),
    "a kept connection is owed nothing": (State(came=REPLY), NOBODY),
}


@pytest.mark.parametrize(("state", "who"), IS_TO_MOVE.values(), ids=IS_TO_MOVE.keys())
def test_who_is_to_move(state: State, who: str) -> None:
    exchange = state.exchange()
    assert exchange.awaits_client == (who == CLIENT)
    assert exchange.awaits_backend == (who == BACKEND)


IS_UNUSED = {
    "a kept connection whose reply is taken": (State(came=REPLY), True),
    "one that has been asked again": (State(GET + GET, REPLY), False),
    "one whose client still takes the reply": (State(came=REPLY, delivering=True), False),
    "one whose reply is on its way": (State(came=HALF_A_REPLY), False),
    "one whose request has begun": (State(HALF_A_HEAD), False),
    "one that was answered before its request was whole": (State(HALF_A_BODY, REPLY), True),
}


@pytest.mark.parametrize(("state", "is_unused"), IS_UNUSED.values(), ids=IS_UNUSED.keys())
def test_a_worker_that_stops_ends_what_is_unused(state: State, is_unused: bool) -> None:  # noqa: FBT001  from a table
    assert state.exchange().is_unused == is_unused


A_CLOSE_MAY_DESTROY_THE_REPLY = {
    "after one whole request nothing more comes": (State(came=REPLY), False),
    "but the rest of its body may": (State(HALF_A_BODY, REPLY), True),
    "and of what does not say where it ends": (State(NOT_HTTP), True),
    "and what has come already, and nobody has read": (State(came=REPLY, unread=True), True),
    "after the end of the stream nothing does": (State(HALF_A_BODY, half_closed=True, unread=True), False),
}


@pytest.mark.parametrize(
    ("state", "may"), A_CLOSE_MAY_DESTROY_THE_REPLY.values(), ids=A_CLOSE_MAY_DESTROY_THE_REPLY.keys()
)
def test_a_close_waits_for_a_client_that_may_send_more(state: State, may: bool) -> None:  # noqa: FBT001  from a table
    assert state.exchange().may_send_more(keepalive=False) == may


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_client_that_keeps_its_connection_may_always_ask_again(half_closed: bool) -> None:  # noqa: FBT001
    assert State(came=REPLY, half_closed=half_closed).exchange().may_send_more(keepalive=True) != half_closed


def test_each_reply_is_counted_when_it_is_complete() -> None:
    exchange = State(GET + GET + GET).exchange()
    assert [exchange.replied(data) for data in (INTERIM, REPLY + HALF_A_REPLY, REPLY[-2:])] == [0, 1, 1]
    assert exchange.owes
