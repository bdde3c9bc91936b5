"""What became of an exchange: complete, explained by a fault that was injected, or unexplained. Pure.

An explanation is as narrow as it can be. What a client or a backend did is known by the exchange, a killed worker by
the connections that it held. Only a backend that is out has a time instead: a connection that it never accepted carries
no name; and a worker that was stopped in that time notices so much later. Bytes that are wrong are never explained.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.torture.exchange import Exchange
from harness.torture.way import BACKEND_REST_S

_SLACK_S = 0.3
_OWN_REPLY = re.compile(rb"HTTP/1\.[01] (50[24])[^\r]*\r\n(?:[^\r]+\r\n)*?\r\n", re.DOTALL)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_OWN_REPLY_BEGINS = b"HTTP/1.0 50"


@dataclass(slots=True)
class Outage:
    """A time in which a backend did not listen; ``end_s`` is infinite until it is back."""

    backend: int
    begin_s: float
    end_s: float = float("inf")


@dataclass(slots=True)
class Pause:
    """A time in which a worker of a server was stopped; ``end_s`` is infinite until it goes on."""

    server: str
    begin_s: float
    end_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``cause`` explains an exchange that is not complete; without one ``problem`` says what is unexplained."""

    complete: bool = False
    cause: str = ""
    problem: str = ""


def judge(exchange: Exchange, outages: Sequence[Outage], pauses: Sequence[Pause], backends: int) -> Verdict:
    """Judge an exchange that is over."""
    if exchange.wrong:
        return Verdict(problem=f"wrong bytes: {exchange.wrong}")
    if exchange.reset_done is None and is_complete(exchange):
        return Verdict(complete=True)
    if cause := _of_the_client_s_end(exchange):
        return Verdict(cause=cause)
    if exchange.cut:
        return _judge_cut(exchange)
    answered_502 = own_status(exchange.own_reply) == b"502" and not exchange.reached_backend
    if answered_502 and (cause := _out(exchange, outages, pauses, backends)):
        return Verdict(cause=cause)
    return Verdict(problem=_describe(exchange))


def _of_the_client_s_end(exchange: Exchange) -> str:
    """Tell what was done to the client's connection, by itself or by others."""
    carrier = exchange.carrier
    if exchange.reset_done:
        return f"its client reset {exchange.reset_done}"
    if carrier and carrier.worker_killed:
        return "its worker was killed"
    if carrier and carrier.backend_died and not exchange.reached_backend and not exchange.received:
        return "its backend died between two exchanges"
    return ""


def is_complete(exchange: Exchange) -> bool:
    """Tell whether the whole reply has come, and nothing behind it.

    One that lasts until the end of the stream needs an orderly end. Of others it does not matter: who still sends when
    the server has answered gets a reset behind the reply.
    """
    if exchange.own_reply or exchange.received != len(exchange.reply) or exchange.problem:
        return False
    by_end = exchange.way.proxied and not exchange.script.with_length
    return exchange.end == "end" if by_end else exchange.end != "none" or exchange.way.kept


def is_own(data: bytes) -> bool:
    """Tell whether what came may be a reply that the proxy makes itself."""
    return _OWN_REPLY_BEGINS.startswith(data[: len(_OWN_REPLY_BEGINS)])


def own_status(reply: bytes) -> bytes:
    """Return the status of a reply that the proxy made itself; empty where it is not whole."""
    head = _OWN_REPLY.match(reply)
    length = _LENGTH.search(reply[: head.end()]) if head else None
    if head is None or length is None or len(reply) != head.end() + int(length[1]):
        return b""
    return head[1]


def _judge_cut(exchange: Exchange) -> Verdict:
    """Judge what a backend has broken off: what it had sent by then has to be there, and no more."""
    cause = {
        "ended": "its backend ended half-way",
        "reset": "its backend reset half-way",
        "silent": "its backend fell silent",
        "died": "its backend died",
    }[exchange.cut or "died"]
    if exchange.own_reply:
        # One that died when it had been silent for long may have got its client either.
        wanted = {b"504"} if exchange.cut == "silent" else {b"502"}
        if exchange.cut == "died" and exchange.script.act == "fall silent":
            wanted.add(b"504")
        right = own_status(exchange.own_reply) in wanted and (exchange.cut == "died" or not exchange.cut_after)
    else:
        # What is sent when a backend dies may be lost with it, and so may the status of the reply that it owes.
        right = exchange.cut == "died" or (0 < exchange.cut_after == exchange.received)
        right = right and exchange.end != "none"
    if right:
        return Verdict(cause=cause)
    return Verdict(problem=f"{_describe(exchange)}, though {cause} after {exchange.cut_after} bytes were sent")


def _out(exchange: Exchange, outages: Sequence[Outage], pauses: Sequence[Pause], backends: int) -> str:
    """Tell why no backend took an exchange, from the times in which they did not listen."""
    stopped = [
        one
        for one in pauses
        if one.server == exchange.way.name and _noticed_s(one) + BACKEND_REST_S >= exchange.began_s
    ]
    begun = [(one, _over_s(one, stopped)) for one in outages if one.begin_s <= exchange.ended_s]
    during = [(one, over_s) for one, over_s in begun if over_s >= exchange.began_s]
    moments = [max(one.begin_s, exchange.began_s) for one, _ in during]
    if any(len({one.backend for one, over_s in during if one.begin_s <= at <= over_s}) == backends for at in moments):
        return "every backend was out"
    if any(exchange.began_s - _SLACK_S <= one.begin_s <= exchange.ended_s for one, _ in during):
        return "its backend died before it accepted"
    return ""


def _over_s(outage: Outage, stopped: Sequence[Pause]) -> float:
    """Tell until when a backend may be left out by a proxy some of whose workers were stopped.

    Such a worker learns that the backend has refused when it goes on, and leaves it out from then.
    """
    late_s = [_noticed_s(one) for one in stopped if one.begin_s <= _noticed_s(outage)]
    return max([_noticed_s(outage), *late_s]) + BACKEND_REST_S


def _noticed_s(over: Outage | Pause) -> float:
    """Tell until when a worker on a busy machine may not have noticed that something is over."""
    return over.end_s + _SLACK_S


def _describe(exchange: Exchange) -> str:
    if exchange.problem:
        return exchange.problem
    if exchange.own_reply:
        return f"the proxy answered {exchange.own_reply[:60]!r}"
    end = {"end": "the end", "reset": "a reset", "none": "nothing"}[exchange.end]
    return f"{exchange.received} of {len(exchange.reply)} bytes, then {end}"
