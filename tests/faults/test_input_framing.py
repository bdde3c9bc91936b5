"""What a backend sends, cut anywhere and wrong in any way: where a reply ends is found as in a plain reading."""

import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from impls.framing import MAX_HEAD, MAX_LENGTH_DIGITS, ReplyFraming, is_one_reply

MANY = settings(max_examples=400, derandomize=True)
TOKENS = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 204 N\r\n",
        b"HTTP/1.1 100 C\r\n",
        b"HTTP/1.1 304 N\r\n",
        b"HTTP/1.0 502 B\r\n",
    ),
    *(b"Content-Length: 3\r\n", b"content-length:0\r\n", b"CONTENT-LENGTH \t: \t3 \t\r\n", b"Content-Length: 3\rX\r\n"),
    *(b"Content-Length: +3\r\n", b"Content-Length:\r\n", b" Content-Length: 3\r\n", b"XContent-Length: 3\r\n"),
    *(b"Content-Length: 3, 3\r\n", b"Content-Length: 1234567890123456789\r\n", b"Content-Length: \xb2\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"transfer-encoding :x\r\n", b"Transfer-Encoding\r\n", b"Server: x\r\n"),
    *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b":", b" ", b"abc", b"abcdefghi1\r\n\r\n", b"HTTP/", b"HTTP", b"\x00\xff"),
)
STREAMS = st.one_of(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join), st.binary(max_size=40))
CUTS = st.lists(st.integers(0, 400), max_size=10)


class Ending(NamedTuple):
    """What is known when a stream stops."""

    completed: int
    until_end: bool
    """Whether the end of the stream completes the last reply."""
    between: bool


def read_plainly(stream: bytes) -> Ending:
    """Find the ends of the replies in a stream that is there as a whole."""
    completed = 0
    while stream:
        head, blank, rest = stream.partition(b"\r\n\r\n")
        begins_as_http = b"HTTP/".startswith(stream[:5])
        if not begins_as_http or len(head) + len(blank[:-1]) > MAX_HEAD:
            return Ending(completed, until_end=True, between=False)
        if not blank:
            return Ending(completed, until_end=False, between=False)
        status = head[9:12]
        if status.startswith(b"1"):
            if not rest:
                return Ending(completed, until_end=False, between=False)
            stream = rest
            continue
        length = 0 if status in {b"204", b"304"} else length_of(head)
        if length is None:
            return Ending(completed, until_end=True, between=False)
        if len(rest) < length:
            return Ending(completed, until_end=False, between=False)
        completed, stream = completed + 1, rest[length:]
    return Ending(completed, until_end=False, between=True)


def length_of(head: bytes) -> int | None:
    found = set()
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        name, value = name.rstrip(b" \t").lower(), value.strip(b" \t")
        if colon and name == b"transfer-encoding":
            return None
        if colon and name == b"content-length":
            if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
                return None
            found.add(int(value))
    return found.pop() if len(found) == 1 else None


def read_in_pieces(stream: bytes, cuts: Sequence[int]) -> Ending:
    framing = ReplyFraming()
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    completed = sum(framing.feed(stream[a:b]) for a, b in itertools.pairwise(bounds) if b > a)
    return Ending(completed, framing.end(), framing.between)


@MANY
@given(stream=STREAMS, cuts=CUTS)
@example(stream=b"abcdefghi1\r\n\r\n", cuts=[])
@example(stream=b"abcdefghi1\r\n\r\n", cuts=[1])
@example(stream=b"HTTP/1.1 200 OK\r\nContent-Length: 3\rX\r\n\r\nabc", cuts=[])
@example(stream=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\rX\r\n\r\nabc", cuts=[])
@example(stream=b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD + b"\r\nContent-Length: 0\r\n\r\n", cuts=[])
@example(stream=b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD + b"\r\nContent-Length: 0\r\n\r\n", cuts=[MAX_HEAD + 9])
def test_replies_come_in_any_pieces_and_any_form__their_ends_are_where_a_plain_reading_finds_them(
    stream: bytes, cuts: list[int]
) -> None:
    assert read_in_pieces(stream, cuts) == read_plainly(stream)
    assert read_in_pieces(stream, range(len(stream)) if len(stream) < MAX_HEAD else cuts) == read_plainly(stream)


@MANY
@given(stream=STREAMS)
@example(stream=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
def test_a_reply_is_taken_for_one_at_first_sight__the_careful_reading_agrees(stream: bytes) -> None:
    if is_one_reply(stream):
        assert read_in_pieces(stream, ()) == Ending(1, until_end=False, between=True)


def test_a_head_is_just_as_long_as_it_may_be__one_byte_more_is_not_taken_for_http() -> None:
    begin, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\nContent-Length: 0\r\n\r\n"
    fits = begin + b"x" * (MAX_HEAD + 1 - len(begin) - len(end)) + end
    assert read_in_pieces(fits, ()) == read_in_pieces(fits, [MAX_HEAD]) == Ending(1, until_end=False, between=True)
    longer = begin + b"x" + fits[len(begin) :]
    assert read_in_pieces(longer, ()) == read_in_pieces(longer, [MAX_HEAD + 1]) == Ending(0, True, False)  # noqa: FBT003  as they stand there


def test_a_length_stands_behind_thousands_of_spaces__no_time_is_lost_on_them() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3" + b" " * 60_000 + b"x\r\n\r\nabc"
    began_s = time.process_time()
    assert read_in_pieces(head, ()).until_end
    assert time.process_time() - began_s < 1
