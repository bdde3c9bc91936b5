"""Replies with a Date field, whose value changes each second.

Our own servers send none, but HTTP asks servers that have a clock for it (RFC 9110, 6.6.1).
"""

import re

_DATE = re.compile(rb"(?:[^\r\n]+\r\n)+?Date: ([^\r\n]+)\r\n", re.IGNORECASE)


def date_in(reply: bytes) -> tuple[int, int]:
    """Tell where the value of a reply's Date field begins and ends; nowhere: the same twice."""
    found = _DATE.match(reply)
    return found.span(1) if found else (0, 0)


def agrees(data: bytes, have: int, reply: bytes, date: tuple[int, int]) -> bool:
    """Tell whether these are the bytes of the reply from ``have`` on, but for the value of its date."""
    begin, end = date
    before, after = data[: max(0, begin - have)], data[max(0, end - have) :]
    return reply.startswith(before, have) and reply.startswith(after, max(end, have))
